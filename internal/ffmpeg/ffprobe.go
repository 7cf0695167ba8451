package ffmpeg

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	apigpu "github.com/api-gpu/api-gpu"
)

// probeEntries names what is asked of ffprobe. Tags are left out: they are
// the user's words, of any length, and decide nothing.
const probeEntries = "format=format_name,duration,start_time,nb_streams" +
	":stream=index,codec_type,codec_name,codec_tag_string,width,height,pix_fmt,sample_aspect_ratio,field_order" +
	",color_range,color_space,color_transfer,color_primaries,r_frame_rate,avg_frame_rate,time_base" +
	",start_pts,duration,nb_frames,sample_rate,channels,bit_rate" +
	":stream_disposition=default,attached_pic,timed_thumbnails" +
	":stream_side_data=side_data_type,displaymatrix,dv_profile"

// probed is ffprobe's JSON. Numbers that may be "N/A" are strings there.
type probed struct {
	Format struct {
		Name      string `json:"format_name"`
		Duration  string `json:"duration"`
		StartTime string `json:"start_time"`
		Streams   int    `json:"nb_streams"`
	} `json:"format"`
	Streams []probedStream `json:"streams"`
}

type probedStream struct {
	Index       int    `json:"index"`
	Type        string `json:"codec_type"`
	Codec       string `json:"codec_name"`
	Tag         string `json:"codec_tag_string"`
	Width       int    `json:"width"`
	Height      int    `json:"height"`
	PixFmt      string `json:"pix_fmt"`
	SAR         string `json:"sample_aspect_ratio"`
	FieldOrder  string `json:"field_order"`
	Range       string `json:"color_range"`
	Space       string `json:"color_space"`
	Transfer    string `json:"color_transfer"`
	Primaries   string `json:"color_primaries"`
	Rate        string `json:"r_frame_rate"`
	AvgRate     string `json:"avg_frame_rate"`
	TimeBase    string `json:"time_base"`
	StartPTS    int64  `json:"start_pts"`
	Duration    string `json:"duration"`
	Frames      string `json:"nb_frames"`
	SampleRate  string `json:"sample_rate"`
	Channels    int    `json:"channels"`
	BitRate     string `json:"bit_rate"`
	Disposition struct {
		Default         int `json:"default"`
		AttachedPic     int `json:"attached_pic"`
		TimedThumbnails int `json:"timed_thumbnails"`
	} `json:"disposition"`
	SideData []struct {
		Type      string `json:"side_data_type"`
		Matrix    string `json:"displaymatrix"`
		DVProfile int    `json:"dv_profile"`
	} `json:"side_data_list"`
}

// parseProbe turns ffprobe's answer into a Probe, and refuses what has no
// video that could be shown.
func parseProbe(answer []byte) (Probe, error) {
	var in probed
	if err := json.Unmarshal(answer, &in); err != nil {
		return Probe{}, fmt.Errorf("read the answer of ffprobe: %w", err)
	}
	p := Probe{Format: in.Format.Name, Streams: max(in.Format.Streams, len(in.Streams))}
	for _, s := range in.Streams {
		switch {
		case s.Type == "subtitle" && s.Codec == "mov_text":
			p.Texts++
		case s.Type != "audio":
		case s.Codec == "" || s.Codec == "unknown" || s.Tag == "enca" || s.Channels == 0:
			p.AudioDropped++
		default:
			p.Audio = append(p.Audio, Audio{
				Index: s.Index, Codec: s.Codec, Channels: s.Channels, SampleRate: int(number(s.SampleRate)),
				StartPTS: s.StartPTS, TimeBase: rational(s.TimeBase, "/"), Duration: seconds(s.Duration),
				BitRate: number(s.BitRate),
			})
		}
	}
	chosen, ok := chooseVideo(in.Streams)
	if !ok && len(in.Streams) == 0 {
		return Probe{}, apigpu.E(apigpu.MediaUndecodable, nil, "The file holds no picture and no sound that can be read.")
	}
	if !ok {
		return Probe{}, apigpu.E(apigpu.NoVideoStream, nil, "The file has no video: there is nothing to put captions on.")
	}
	p.Video = videoOf(chosen)
	p.Start = start(p, seconds(in.Format.StartTime))
	p.Duration = duration(p, seconds(in.Format.Duration))
	return p, undecodable(chosen, p.Video)
}

// chooseVideo returns the stream that a player would show first.
func chooseVideo(streams []probedStream) (probedStream, bool) {
	first, found := probedStream{}, false
	for _, s := range streams {
		if s.Type != "video" || s.Disposition.AttachedPic == 1 || s.Disposition.TimedThumbnails == 1 {
			continue
		}
		if s.Disposition.Default == 1 {
			return s, true
		}
		if !found {
			first, found = s, true
		}
	}
	return first, found
}

func videoOf(s probedStream) Video {
	v := Video{
		Index: s.Index, Codec: s.Codec, PixFmt: s.PixFmt, Width: s.Width, Height: s.Height,
		SAR: rational(s.SAR, ":"), AvgRate: rational(s.AvgRate, "/"), Rate: rational(s.Rate, "/"),
		TimeBase: rational(s.TimeBase, "/"), StartPTS: s.StartPTS,
		Duration: seconds(s.Duration), Frames: number(s.Frames),
		Range: known(s.Range), Space: known(s.Space), Transfer: known(s.Transfer),
		Primaries: known(s.Primaries), FieldOrder: known(s.FieldOrder),
	}
	for _, d := range s.SideData {
		if d.Matrix != "" {
			v.Rotation, v.Mirrored, v.Tilted = orientation(d.Matrix)
		}
		v.DolbyVision = max(v.DolbyVision, d.DVProfile)
	}
	return v
}

// undecodable returns the reason why v cannot be shown, or nil.
func undecodable(s probedStream, v Video) error {
	switch {
	case s.Tag == "encv":
		return apigpu.E(apigpu.MediaUndecodable, nil, "The video is encrypted.")
	case v.Codec == "" || v.Codec == "unknown" || v.PixFmt == "" || v.PixFmt == "unknown":
		return apigpu.E(apigpu.MediaUndecodable, nil, "No frame of the video can be decoded: its codec is not known, or it is damaged.")
	case v.Width <= 0 || v.Height <= 0 || v.TimeBase.Float() <= 0:
		return apigpu.E(apigpu.MediaUndecodable, nil, "The video does not say how large its frames are.")
	case v.DolbyVision == 5:
		// Its base layer is in IPT colours, which only a Dolby decoder turns
		// into a picture; others show green and violet.
		return apigpu.E(apigpu.MediaUndecodable, nil, "The video is Dolby Vision profile 5, whose colours cannot be converted.").
			WithHint("Export it as SDR, HDR10 or Dolby Vision profile 8.")
	}
	return nil
}

// start returns the timestamp that FFmpeg maps to 0: the start of the file,
// and for formats whose timestamps may jump (MPEG-TS and MPEG-PS) the
// earliest start of the streams that are used (fftools,
// correct_input_start_times).
func start(p Probe, file time.Duration) time.Duration {
	if p.Format != "mpegts" && p.Format != "mpeg" {
		return file
	}
	first := ticks(p.Video.StartPTS, p.Video.TimeBase)
	for _, a := range p.Audio {
		first = min(first, ticks(a.StartPTS, a.TimeBase))
	}
	return first
}

// duration returns the end of the longest stream that is kept, as the headers
// of the streams tell it. Where they do not, it is that of the file, which
// also counts subtitles that go on after the last frame.
func duration(p Probe, file time.Duration) time.Duration {
	if p.Video.Duration <= 0 {
		return max(file, 0)
	}
	end := ticks(p.Video.StartPTS, p.Video.TimeBase) + p.Video.Duration
	for _, a := range p.Audio {
		end = max(end, ticks(a.StartPTS, a.TimeBase)+a.Duration)
	}
	return max(end-p.Start, 0)
}

// ticks turns a timestamp into a time of whole microseconds, FFmpeg's unit.
func ticks(pts int64, base Rational) time.Duration {
	return clampMicroseconds(float64(pts) * base.Float() * 1e6)
}

// orientation reads a display matrix as ffprobe prints it: three rows of an
// offset and three numbers. The two left columns are a rotation, as 16.16
// fixed point (ISO/IEC 14496-12, 8.2.2). An angle that is no multiple of 90
// degrees counts as none: FFmpeg turns it inside the frame it has.
func orientation(matrix string) (clockwise int, mirrored, tilted bool) {
	var m []float64
	for line := range strings.Lines(matrix) {
		_, numbers, found := strings.Cut(line, ":")
		if !found {
			continue
		}
		for _, field := range strings.Fields(numbers) {
			n, err := strconv.ParseInt(field, 10, 64)
			if err != nil {
				return 0, false, false
			}
			m = append(m, float64(n))
		}
	}
	if len(m) != 9 {
		return 0, false, false
	}
	a, b, c, d := m[0], m[1], m[3], m[4]
	mirrored = a*d-b*c < 0
	degrees := math.Atan2(b, a) * 180 / math.Pi
	quarter := math.Round(degrees / 90)
	if math.Abs(degrees-quarter*90) > 1 { // FFmpeg's own tolerance
		return 0, mirrored, true
	}
	return (int(quarter)*90 + 360) % 360, mirrored, false
}

// known drops the words by which ffprobe says that it does not know.
func known(word string) string {
	if word == "unknown" || word == "N/A" || word == "unspecified" || word == "reserved" {
		return ""
	}
	return word
}

// seconds reads "12.345000"; what is no sensible time is 0.
func seconds(s string) time.Duration {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0
	}
	return clampMicroseconds(f * 1e6)
}

// clampMicroseconds rounds, and bounds to a century either way: a lying
// header must not overflow.
func clampMicroseconds(f float64) time.Duration {
	const century = 100 * 365 * 24 * time.Hour
	if math.IsNaN(f) {
		return 0
	}
	limit := float64(century.Microseconds())
	return time.Duration(math.Round(min(max(f, -limit), limit))) * time.Microsecond
}

// number reads a decimal; what is none is 0.
func number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// rational reads "30000/1001" or "4:3"; what is no positive fraction is zero.
func rational(s, separator string) Rational {
	left, right, _ := strings.Cut(s, separator)
	r := Rational{number(left), number(right)}
	if r.Num == 0 || r.Den == 0 {
		return Rational{}
	}
	return r
}
