package ffmpeg

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	apigpu "github.com/api-gpu/api-gpu"
)

// Spec is what is wanted of one video. Its zero value is captions burnt into
// H.264 of balanced quality, and all else as the source has it.
type Spec struct {
	Output   apigpu.Output
	Mode     apigpu.Mode // empty is burn
	Language string      // of the captions (BCP 47), for a text track
	Limits   Limits
	Frames   Frames // of the source
	Light    Light  // of the source, where its HDR is kept
	// Overlay is laid over captions that are drawn; nil is nothing.
	Overlay *Overlay
	// Rate is the picture's bits a second; 0 takes what Output asks for. See
	// Shrink.
	Rate int64
}

// burns reports whether captions are drawn into the picture.
func (s Spec) burns() bool { return s.Mode != apigpu.Soft }

// tracks reports whether the result has captions as a text track.
func (s Spec) tracks() bool { return s.Mode == apigpu.Soft || s.Mode == apigpu.Both }

// Copies reports whether the picture is kept bit by bit: captions are a text
// track alone, nothing else was asked for, and the source's picture is one that
// MP4 holds and players show. Balanced is what is meant where nobody says a
// quality, so it asks for nothing.
//
// Only MP4 and Matroska are copied from: their times are those of frames, and
// need no decoder to be put right.
func (s Spec) Copies(p Probe) bool {
	o, v := s.Output, p.Video
	w, h := Canvas(o, p)
	width, height := p.Display()
	switch {
	case s.Mode != apigpu.Soft, w != width || h != height, o.FPS != 0, o.BitrateKbps != 0, o.MaxSizeMB != 0,
		o.Quality != "" && o.Quality != apigpu.Balanced,
		o.Codec != "" && string(o.Codec) != v.Codec:
		return false
	}
	indexed := strings.Contains(p.Format, "mp4") || strings.Contains(p.Format, "matroska")
	return indexed && len(s.Frames.Times) > 0 && !s.Frames.Cut && s.holds(v)
}

// holds reports whether MP4 holds a picture that every player shows as it is.
func (s Spec) holds(v Video) bool {
	switch {
	case v.Width%2 != 0 || v.Height%2 != 0, v.Interlaced(), v.Range == "pc", v.Tilted:
		return false
	case v.Wide():
		return v.HDR() && v.Codec == string(apigpu.HEVC) && v.PixFmt == "yuv420p10le" && s.Output.HDR == apigpu.HDRKeep
	}
	deep := v.PixFmt == "yuv420p10le" && v.Codec != string(apigpu.H264)
	return slices.Contains([]string{"h264", "hevc", "av1"}, v.Codec) && (v.PixFmt == "yuv420p" || deep)
}

// KeepsHDR reports whether the result has the high dynamic range of the source.
func (s Spec) KeepsHDR(p Probe) bool {
	return s.Output.HDR == apigpu.HDRKeep && s.Output.Codec == apigpu.HEVC && p.Video.HDR()
}

// grace is how far a video may run past MaxDuration before FFmpeg stops it.
// Report.check calls the stop an error, so no video is ever cut in silence.
const grace = time.Second

// maxThreads is where more threads cost memory and gain nothing: FFmpeg warns
// above 16 for a decoder.
const maxThreads = 16

// Check refuses what this machine cannot make of a file, before it is tried:
// NoEncoder, InvalidRequest where the codec has no frames so small, MediaTooBig
// where the result would be, and TooLarge where no picture fits into the bytes
// that were asked for.
func (s Spec) Check(p Probe, a Abilities) error {
	w, h := Canvas(s.Output, p)
	switch {
	case s.Limits.MaxPixels > 0 && w*h > s.Limits.MaxPixels:
		return apigpu.E(apigpu.MediaTooBig, nil, "The result would be %d x %d pixels; at most %d pixels are accepted.", w, h, s.Limits.MaxPixels).
			WithField("output.resolution")
	case EncoderFor(s, p, a) == "" && a.Best(s.Output.Codec) == "":
		return a.lacks(s.Output.Codec)
	case EncoderFor(s, p, a) == "":
		return apigpu.E(apigpu.InvalidRequest, nil, "The result would be %d x %d pixels, which no encoder of %s takes here.", w, h, s.Output.Codec).
			WithField("output.codec").WithHint("Ask for output.codec h264, or another output.resolution.")
	}
	return s.checkSize(p)
}

// Can refuses a codec that this machine does not encode at all, whatever the
// file. A text track alone may need no encoder.
func (s Spec) Can(a Abilities) error {
	if s.Mode != apigpu.Soft && a.Best(s.Output.Codec) == "" {
		return a.lacks(s.Output.Codec)
	}
	return nil
}

func (a Abilities) lacks(c apigpu.Codec) error {
	return apigpu.E(apigpu.NoEncoder, nil, "The FFmpeg of this worker cannot encode %s.", codecOf(c)).WithField("output.codec").
		WithHint("Ask for output.codec h264, or install an FFmpeg that has the encoder.")
}

// Args returns the arguments that make OutputFile of InputFile: an MP4 that
// plays from its first bytes, as the spec has it. Captions are drawn from
// ScriptFile, and a text track is made of TrackFile. It is pure, and no text
// from the file or its owner is part of the result.
//
// What is kept: every frame with its timestamp, unless a rate is asked for;
// every audio track; the global metadata. What is dropped: other video,
// subtitle and data streams, timecode, chapters, attachments.
func Args(s Spec, p Probe, a Abilities) []string {
	var args []string
	add := func(more ...string) { args = append(args, more...) }

	add("-nostdin", "-hide_banner", "-nostats", "-y",
		// A level on every line, and no "Last message repeated": complaints
		// are counted.
		"-loglevel", "repeat+level+warning",
		"-progress", "pipe:1", "-stats_period", "0.25",
		"-max_alloc", maxAlloc)
	threads := strconv.Itoa(min(a.Threads, maxThreads))
	if a.Threads > 0 {
		add("-filter_threads", threads)
	}

	add("-protocol_whitelist", protocols, "-format_whitelist", formats)
	if s.Limits.MaxPixels > 0 {
		add("-max_pixels", strconv.Itoa(s.Limits.MaxPixels)) // also holds for a size that changes in mid-stream
	}
	if a.Threads > 0 {
		add("-threads", threads)
	}
	add("-i", InputFile)
	if s.tracks() {
		add("-protocol_whitelist", protocols, "-format_whitelist", "srt", "-f", "srt", "-i", TrackFile)
	}

	add("-map", fmt.Sprintf("0:%d", p.Video.Index))
	for _, track := range p.Audio {
		add("-map", fmt.Sprintf("0:%d", track.Index))
	}
	if s.tracks() {
		add("-map", "1:0")
	}
	add("-map_metadata", "0", "-map_chapters", "-1")

	add(s.picture(p, a)...)
	for i, track := range p.Audio {
		add(sound(i, track, s.Output.Audio)...)
	}
	if slices.ContainsFunc(p.Audio, func(a Audio) bool { return a.Codec == "flac" && Copied(a, s.Output.Audio) }) {
		add("-strict", "experimental") // FFmpeg before 6 calls FLAC in MP4 so
	}
	if s.tracks() {
		add("-c:s", "mov_text", "-metadata:s:s:0", "language="+trackLanguage(s.Language), "-disposition:s:0", "default")
	}

	if s.Limits.MaxDuration > 0 {
		add("-t", strconv.FormatFloat((s.Limits.MaxDuration+grace).Seconds(), 'f', 3, 64))
	}
	if s.Limits.MaxBytes > 0 {
		add("-fs", strconv.FormatInt(s.Limits.MaxBytes, 10))
	}
	add("-movflags", "+faststart", "-write_tmcd", "0", "-f", "mp4", OutputFile)
	return args
}

// picture returns the options of the video stream.
func (s Spec) picture(p Probe, a Abilities) []string {
	name := EncoderFor(s, p, a)
	if name == Copy {
		args := []string{"-c:v", Copy}
		if p.Video.Codec == string(apigpu.HEVC) {
			args = append(args, "-tag:v", "hvc1") // see encoder
		}
		return args
	}
	args := []string{"-vf", strings.Join(filters(s, p, a), ",")}
	args = append(args, encoder(name, effort{quality: s.quality(), rate: s.rate(p), deep: s.KeepsHDR(p), light: s.Light, threads: a.Threads})...)
	if rate := FrameRate(s.Output.FPS); rate.Num > 0 {
		return append(args, "-fps_mode", "vfr", "-enc_time_base:v", fmt.Sprintf("%d/%d", rate.Den, rate.Num))
	}
	return append(args, timing(p.Video, s.Frames)...)
}

// timing keeps every frame at its own time. Without a time base of its own
// the encoder would round timestamps to 1/r_frame_rate. With one, vfr never
// repeats a frame; of two frames with the same time it moves the second by a
// tick, where passthrough would make a file that is not valid.
//
// An encoder passes on no length of a frame (FFmpeg before 6.1). The muxer
// takes it from the next frame in the order of the file, and makes the last
// one as long as the one before. Where frames are uneven that is wrong by as
// much as they differ: a slide that stands for 30 s would stand for 30 s more.
// So the length of the last frame is said, and frames are not reordered, since
// only then is the last in the file the last that is shown.
func timing(v Video, f Frames) []string {
	base := v.TimeBase
	if base.Num <= 0 || base.Den <= 0 || base.Den/base.Num > 1_000_000 {
		base = Rational{1, 90000} // 11 µs: finer than any eye, and fits the boxes of MP4
	}
	args := []string{"-fps_mode", "vfr", "-enc_time_base:v", fmt.Sprintf("%d/%d", base.Num, base.Den)}
	if f.Uneven && f.End > f.Last {
		// Half the last frame's length is less than any distance to the one
		// before it, and more than rounding.
		from := f.Last - min((f.End-f.Last)/2, time.Millisecond)
		args = append(args, "-bf", "0", "-bsf:v",
			fmt.Sprintf("setts=pts=PTS:dts=DTS:duration=if(gte(PTS*TB\\,%.6f)\\,%.6f/TB-PTS\\,DURATION)", from.Seconds(), f.End.Seconds()))
	}
	return args
}
