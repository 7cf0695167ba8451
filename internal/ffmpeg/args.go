package ffmpeg

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	apigpu "github.com/api-gpu/api-gpu"
)

// The encoders that Args knows.
const (
	X264  = "libx264"
	NVENC = "h264_nvenc"
)

// Spec is what is wanted of one video.
type Spec struct {
	Quality apigpu.Quality // empty is balanced
	Limits  Limits
	Frames  Frames // of the source
}

// Abilities are what a machine proved it can do; see Tools.Prove.
type Abilities struct {
	Version string // of FFmpeg: "5.1.9-0+deb12u1"
	Encoder string // the best that encoded a real frame: X264 or NVENC
	GPU     string // model, empty without NVENC
	Threads int    // for decoder, filters and encoder; 0 leaves FFmpeg its default
	// ToneMap says that the filters zscale and tonemap are there. Without
	// them HDR comes out pale.
	ToneMap bool
}

// grace is how far a video may run past MaxDuration before FFmpeg stops it.
// Report.check calls the stop an error, so no video is ever cut in silence.
const grace = time.Second

// maxThreads is where more threads cost memory and gain nothing: FFmpeg warns
// above 16 for a decoder.
const maxThreads = 16

// Args returns the arguments that burn ScriptFile into InputFile and write
// OutputFile: an MP4 with H.264 High, 8 bits, 4:2:0, and the sound of the
// source, that browsers play from its first bytes. It is pure, and no text
// from the file or its owner is part of the result.
//
// What is kept: every frame with its timestamp, every audio track, the global
// metadata. What is dropped: other video, subtitle and data streams,
// timecode, chapters, attachments.
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

	add("-map", fmt.Sprintf("0:%d", p.Video.Index))
	for _, track := range p.Audio {
		add("-map", fmt.Sprintf("0:%d", track.Index))
	}
	add("-map_metadata", "0", "-map_chapters", "-1")

	add("-vf", strings.Join(filters(p, a), ","))
	add(encoder(EncoderFor(p, a), s.Quality, a.Threads)...)
	add(timing(p.Video, s.Frames)...)
	for i, track := range p.Audio {
		add(sound(i, track)...)
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

// EncoderFor returns the encoder that Args chooses: the one that was proven,
// but for frames that NVENC does not take (H.264 up to 4096 in either
// direction, NVIDIA's support matrix; and from 160 x 64, which is on the safe
// side of the least that any generation takes).
func EncoderFor(p Probe, a Abilities) string {
	w, h := p.Display()
	if a.Encoder == NVENC && (w < 160 || h < 64 || w > 4096 || h > 4096) {
		return X264
	}
	return a.Encoder
}

// encoder returns the options of the video encoder.
//
// libx264: veryfast at CRF 21 has the SSIM of FFmpeg's own default (medium at
// CRF 23) in half the time and 9 % more bytes (measured, 720p). The other
// figures are steps of about a factor 1.5 to 2 in bytes around it.
//
// NVENC: constant quality on a scale that runs 3 to 4 above CRF for the same
// picture. These figures are an estimate: they were not measured.
//
// A key frame every 250 frames at the latest is both encoders' habit; it is
// said here so that seeking does not depend on a version.
func encoder(name string, quality apigpu.Quality, threads int) []string {
	crf, cq := 21, 25
	switch quality {
	case apigpu.Draft:
		crf, cq = 27, 31
	case apigpu.High:
		crf, cq = 18, 21
	case apigpu.Max:
		crf, cq = 15, 18
	}
	args := []string{"-c:v", name}
	if name == NVENC {
		args = append(args, "-preset", "p4", "-rc", "vbr", "-cq", strconv.Itoa(cq), "-b:v", "0")
	} else {
		args = append(args, "-preset", "veryfast", "-crf", strconv.Itoa(crf))
		if threads > 0 {
			// x264 wants half as many again, as in its own default: its
			// threads wait for each other.
			args = append(args, "-threads:v", strconv.Itoa((min(threads, maxThreads)*3+1)/2))
		}
	}
	return append(args, "-profile:v", "high", "-pix_fmt", "yuv420p", "-g", "250")
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

// sound returns the options of the audio track that comes out as number i.
//
// AAC and MP3 are copied: every browser plays them in MP4, and copied sound
// is unchanged sound. Everything else becomes AAC. That includes AC-3,
// E-AC-3, Opus, ALAC and FLAC, which MP4 may hold but Chrome, Firefox or
// Safari will not play.
func sound(i int, track Audio) []string {
	if Copied(track) {
		return []string{fmt.Sprintf("-c:a:%d", i), "copy"}
	}
	channels := track.Channels
	args := []string{fmt.Sprintf("-c:a:%d", i), "aac"}
	switch channels {
	case 1, 2, 6, 8: // mono, stereo, 5.1, 7.1: the layouts that AAC names
	default:
		channels = 2
		args = append(args, fmt.Sprintf("-ac:a:%d", i), "2")
	}
	return append(args,
		fmt.Sprintf("-b:a:%d", i), fmt.Sprintf("%dk", min(96*channels, 512)),
		// Fills gaps with silence and cuts overlaps, so that sound stays
		// with the picture where the source's timestamps jump.
		fmt.Sprintf("-filter:a:%d", i), "aresample=async=1")
}

// Copied reports whether the sound of a track is kept bit by bit.
func Copied(track Audio) bool {
	switch track.Codec {
	case "aac":
		return true
	case "mp3":
		return track.SampleRate >= 16000 // below, MP4 does not allow it
	}
	return false
}

// Notes tells the user what Args will change beyond the captions.
func Notes(p Probe, a Abilities) []apigpu.Warning {
	var notes []apigpu.Warning
	note := func(when bool, code, message string, count int) {
		if when {
			notes = append(notes, apigpu.Warning{Code: code, Message: message, Count: count})
		}
	}
	converted := 0
	for _, track := range p.Audio {
		if !Copied(track) {
			converted++
		}
	}
	note(p.Video.Wide() && a.ToneMap, "hdr_tone_mapped", "The video has HDR or wide colours; they were mapped to standard ones.", 0)
	note(p.Video.Wide() && !a.ToneMap, "hdr_pale", "The video has HDR or wide colours, and this FFmpeg cannot map them: colours may look pale.", 0)
	note(deinterlaces(p.Video), "deinterlaced", "The video was interlaced; it was made progressive.", 0)
	note(p.Video.alpha(), "transparency_lost", "The video may have transparent parts; they were put on black.", 0)
	note(converted > 0, "audio_converted", "Audio that browsers do not play in MP4 was converted to AAC.", converted)
	note(p.AudioDropped > 0, "audio_dropped", "Audio tracks of an unknown codec were left out.", p.AudioDropped)
	return notes
}
