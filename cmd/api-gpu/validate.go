package main

import (
	"fmt"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/client"
	"github.com/api-gpu/api-gpu/internal/show"
)

// validateCmd looks at a request without making a job of it.
type validateCmd struct {
	SRT     string `arg:"" name:"srt" help:"The subtitles: a file, an http(s) address, or - for standard input."`
	Video   string `placeholder:"URL" help:"Address of the video; without it only the subtitles are looked at."`
	Request string `placeholder:"FILE" help:"A file with further fields of the request as JSON."`
	Cues    bool   `help:"Show the captions as they were read."`
	JSON    bool   `name:"json" help:"Write the answer as JSON."`
}

// Run asks the server, and shows what it answers.
func (k *validateCmd) Run(a *app) error {
	spec, err := readSpec(k.Request)
	if err != nil {
		return err
	}
	srt, err := openSubtitles(k.SRT, a.stdin)
	if err != nil {
		return err
	}
	defer srt.close()
	spec.URLVideo, spec.URLSRT = k.Video, srt.address
	v, err := a.client.Validate(a.ctx, client.Request{Spec: spec, Subtitle: srt.file}, k.Cues)
	switch {
	case err != nil:
		return err
	case k.JSON:
		return show.JSON(a.stdout, v)
	}
	show.Lines(a.stdout, validationWords(v)...)
	return nil
}

// validationWords is a validation for people.
func validationWords(v apigpu.Validation) []string {
	charset := v.Captions.Charset
	if c := v.Captions.Confidence; c > 0 && c < 1 {
		charset += fmt.Sprintf(" (%.0f %% sure)", 100*c)
	}
	lines := []string{fmt.Sprintf("Captions  %d of %d, %s, %s", v.Captions.CuesUsed, v.Captions.CuesIn, v.Captions.Format, charset)}
	for _, w := range v.Warnings {
		line := "Warning   " + w.Message
		if w.Count > 0 {
			line += fmt.Sprintf(" (%d)", w.Count)
		}
		if len(w.Lines) > 0 {
			line += fmt.Sprintf(" Lines %s.", numbers(w.Lines))
		}
		lines = append(lines, line)
	}
	if h := v.Video; h != nil {
		lines = append(lines, "Video     "+headWords(*h))
	}
	if e := v.Estimate; e != nil {
		took := time.Duration(e.Seconds * float64(time.Second)).Round(time.Second).String()
		if e.CostUSD > 0 {
			took += fmt.Sprintf(", $%.4f", float64(e.CostUSD))
		}
		lines = append(lines, "Expected  "+took+": "+e.Basis)
	}
	for _, c := range v.Cues {
		lines = append(lines, fmt.Sprintf("%9.3f %9.3f  %q", c.Start, c.End, c.Text))
	}
	return lines
}

func headWords(h apigpu.VideoHead) string {
	switch {
	case !h.Reachable:
		return "the server cannot read it: " + h.Reason
	case h.Duration == 0 && h.Bytes == 0:
		return h.Reason
	case h.Duration == 0:
		return sizeWords(h.Bytes) + ". " + h.Reason
	}
	return fmt.Sprintf("%s, %d x %d, %s, %s", time.Duration(h.Duration*float64(time.Second)).Round(100*time.Millisecond), h.Width, h.Height, h.Codec, sizeWords(h.Bytes))
}

// numbers joins line numbers.
func numbers(list []int) string {
	s := ""
	for i, n := range list {
		if i > 0 {
			s += ", "
		}
		s += fmt.Sprint(n)
	}
	return s
}
