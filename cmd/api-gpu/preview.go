package main

import (
	"fmt"
	"strings"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/client"
	"github.com/api-gpu/api-gpu/internal/show"
)

// previewCmd draws what a request would make, without a job.
type previewCmd struct {
	SRT     string   `arg:"" name:"srt" help:"The subtitles: a file, an http(s) address, or - for standard input."`
	Video   string   `placeholder:"URL|FILE" help:"The video: an address or a file; without it the captions stand on a plain picture."`
	At      *float64 `placeholder:"SECONDS" help:"When; the middle of the first long caption unless it is said."`
	Sheet   bool     `help:"Nine moments on one picture."`
	Size    string   `placeholder:"WxH" help:"Size of the picture without a video, such as 1080x1920."`
	Preset  string   `help:"Look to begin with: see api-gpu styles."`
	Request string   `placeholder:"FILE" help:"A file with further fields of the request as JSON."`
	Output  string   `short:"o" default:"preview.png" placeholder:"FILE" help:"Where the picture goes; - is standard output."`
	Force   bool     `short:"f" help:"Replace the file that is there."`
}

// Run asks the server, and saves what it draws.
func (k *previewCmd) Run(a *app) error {
	r, free, err := k.request(a)
	if err != nil {
		return err
	}
	defer free()
	ask := apigpu.PreviewAsk{At: k.At, Sheet: k.Sheet}
	if k.Size != "" {
		if n, err := fmt.Sscanf(k.Size, "%dx%d", &ask.Width, &ask.Height); err != nil || n != 2 {
			return usage("--size is WIDTHxHEIGHT, such as 1080x1920.")
		}
	}
	out, err := openOutput(k.Output, k.Force, nil, a.stdout)
	if err != nil {
		return err
	}
	defer out.discard()
	p, err := a.client.Preview(a.ctx, r, ask)
	if err != nil {
		return err
	}
	if _, err := out.Write(p.PNG); err != nil {
		return fmt.Errorf("write picture: %w", err)
	}
	if err := out.commit(); err != nil {
		return err
	}
	if k.Output != "-" {
		show.Lines(a.stdout, previewWords(k.Output, p)...)
	}
	return nil
}

// request is what the flags ask for; free closes its files.
func (k *previewCmd) request(a *app) (r client.Request, free func(), err error) {
	spec, err := readSpec(k.Request)
	if err != nil {
		return r, nil, err
	}
	srt, err := openSubtitles(k.SRT, a.stdin)
	if err != nil {
		return r, nil, err
	}
	var video source
	if k.Video != "" {
		if video, err = openSource(k.Video, "video"); err != nil {
			srt.close()
			return r, nil, err
		}
	}
	spec.URLVideo, spec.URLSRT = video.address, srt.address
	if k.Preset != "" {
		spec.Style.Preset = apigpu.Preset(k.Preset)
	}
	return client.Request{Spec: spec, Subtitle: srt.file, Video: video.file}, func() { srt.close(); video.close() }, nil
}

// previewWords tells of a picture.
func previewWords(where string, p apigpu.Preview) []string {
	at := make([]string, len(p.At))
	for i, t := range p.At {
		at[i] = fmt.Sprintf("%.3f", t)
	}
	lines := []string{"Saved " + where, "At    " + strings.Join(at, ", ") + " s"}
	if p.Background == apigpu.BackgroundPlain {
		lines = append(lines, "Note  The captions stand on a plain picture.")
	}
	if len(p.Warnings) > 0 {
		lines = append(lines, "Note  "+strings.Join(p.Warnings, ", "))
	}
	return lines
}

// stylesCmd lists what captions may look like.
type stylesCmd struct {
	JSON bool `name:"json" help:"Write the answer as JSON, with every figure."`
}

// Run asks the server.
func (k *stylesCmd) Run(a *app) error {
	s, err := a.client.Styles(a.ctx)
	switch {
	case err != nil:
		return err
	case k.JSON:
		return show.JSON(a.stdout, s)
	}
	rows := [][]string{{"PRESET", "ANIMATION", "SIZE", ""}}
	for _, p := range s.Presets {
		rows = append(rows, []string{string(p.Name), string(p.Style.Animation), fmt.Sprintf("%g", p.Style.Font.Size.Pixels), p.Summary})
	}
	rows = append(rows, nil, []string{"ANIMATION", "WORDS"})
	for _, an := range s.Animations {
		words := ""
		if an.Words {
			words = "yes"
		}
		rows = append(rows, []string{string(an.Name), words, "", strings.ReplaceAll(an.Summary, "`", "")})
	}
	rows = append(rows, nil, []string{"SAFE AREA", "TOP", "RIGHT", "BOTTOM, LEFT"})
	for _, f := range s.SafeAreas {
		rows = append(rows, []string{strings.TrimSpace(f.Name + " " + f.Shape), fmt.Sprintf("%g %%", f.Top), fmt.Sprintf("%g %%", f.Right), fmt.Sprintf("%g %%, %g %%", f.Bottom, f.Left)})
	}
	if err := show.Table(a.stdout, rows); err != nil {
		return err
	}
	show.Lines(a.stdout, "", "Positions: "+strings.Join(s.Positions, ", "))
	return nil
}
