package ffmpeg

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	apigpu "github.com/api-gpu/api-gpu"
)

// The encoders that Args knows, and the word for a picture that is not
// encoded.
const (
	X264      = "libx264"
	NVENC     = "h264_nvenc"
	X265      = "libx265"
	NVENCHEVC = "hevc_nvenc"
	SVTAV1    = "libsvtav1"
	AOM       = "libaom-av1"
	NVENCAV1  = "av1_nvenc"
	Copy      = "copy"
)

// encoders are those of each codec, the best first. libaom takes several times
// as long as SVT-AV1 for the same picture: it is for builds that have nothing
// else.
var encoders = map[apigpu.Codec][]string{
	apigpu.H264: {NVENC, X264},
	apigpu.HEVC: {NVENCHEVC, X265},
	apigpu.AV1:  {NVENCAV1, SVTAV1, AOM},
}

// OnGPU reports whether an encoder is a GPU's.
func OnGPU(name string) bool { return strings.HasSuffix(name, "_nvenc") }

// Abilities are what a machine proved it can do; see Tools.Prove.
type Abilities struct {
	Version string // of FFmpeg: "5.1.9-0+deb12u1"
	Encoder string // the best of H.264 that encoded a real frame: X264 or NVENC
	// More are the encoders of other codecs: those of the GPU encoded a real
	// frame, those of the CPU are part of this FFmpeg.
	More    []string
	GPU     string // model, empty without NVENC
	Threads int    // for decoder, filters and encoder; 0 leaves FFmpeg its default
	// ToneMap says that the filters zscale and tonemap are there. Without
	// them HDR comes out pale.
	ToneMap bool
}

// WithoutGPU is what the same machine can do by its CPU alone.
func (a Abilities) WithoutGPU() Abilities {
	a.Encoder, a.GPU = X264, ""
	a.More = slices.DeleteFunc(slices.Clone(a.More), OnGPU)
	return a
}

// GPUOnly is what the same machine can do by its GPU alone.
func (a Abilities) GPUOnly() Abilities {
	if !OnGPU(a.Encoder) {
		a.Encoder = ""
	}
	a.More = slices.DeleteFunc(slices.Clone(a.More), func(name string) bool { return !OnGPU(name) })
	return a
}

// has reports whether an encoder was proven. x264 stands in for NVENC, and is
// part of every FFmpeg that NVENC was ever seen in.
func (a Abilities) has(name string) bool {
	return name == a.Encoder || name == X264 && a.Encoder == NVENC || slices.Contains(a.More, name)
}

// Best returns the best encoder of a codec, and "" where there is none.
func (a Abilities) Best(c apigpu.Codec) string {
	for _, name := range encoders[codecOf(c)] {
		if a.has(name) {
			return name
		}
	}
	return ""
}

// codecOf is H.264 unless it is said.
func codecOf(c apigpu.Codec) apigpu.Codec {
	if c == "" {
		return apigpu.H264
	}
	return c
}

// EncoderFor returns the encoder that Args chooses: the best that was proven
// for the codec and takes frames of this size. It is Copy for a picture that is
// kept as it is, and "" where there is none.
func EncoderFor(s Spec, p Probe, a Abilities) string {
	if s.Copies(p) {
		return Copy
	}
	w, h := Canvas(s.Output, p)
	for _, name := range encoders[codecOf(s.Output.Codec)] {
		if a.has(name) && takes(name, w, h) {
			return name
		}
	}
	return ""
}

// takes reports whether an encoder takes frames of a size. NVENC encodes H.264
// up to 4096 in either direction and the others up to 8192 (NVIDIA's support
// matrix); from 160 x 64, and AV1 from 256 x 128, it is on the safe side of
// the least that any generation takes. SVT-AV1 takes 64 x 64 and x265 16 x 16
// at the least (seen).
func takes(name string, w, h int) bool {
	switch name {
	case NVENC:
		return w >= 160 && h >= 64 && w <= 4096 && h <= 4096
	case NVENCHEVC:
		return w >= 160 && h >= 64 && w <= 8192 && h <= 8192
	case NVENCAV1:
		return w >= 256 && h >= 128 && w <= 8192 && h <= 8192
	case SVTAV1:
		return w >= 64 && h >= 64
	case X265:
		return w >= 16 && h >= 16
	}
	return true
}

// effort is what an encoder is asked for.
type effort struct {
	quality apigpu.Quality // empty is balanced
	rate    int64          // bits a second, instead of quality; 0 for none
	deep    bool           // 10 bits
	light   Light          // of HDR that is kept
	threads int            // 0 for the encoder's own choice
}

// levels are an encoder's figures for draft, balanced, high and max.
type levels [4]int

func (l levels) of(q apigpu.Quality) string {
	at := slices.Index([]apigpu.Quality{apigpu.Draft, apigpu.Balanced, apigpu.High, apigpu.Max}, q)
	if at < 0 {
		at = 1
	}
	return strconv.Itoa(l[at])
}

// qualities are the figures of each encoder on its own scale: CRF on a CPU, CQ
// on a GPU.
//
// libx264: veryfast at CRF 21 has the SSIM of FFmpeg's own default (medium at
// CRF 23) in half the time and 9 % more bytes (measured, 720p). The other
// figures are steps of about a factor 1.5 to 2 in bytes around it.
//
// libx265 and SVT-AV1: about the SSIM of those four, in 0.6 to 1.2 and in 0.5
// to 0.9 of the bytes, for two to three times the processor time (measured with
// x265 3.5 and SVT-AV1 1.4 on a cartoon of 480p, drawings of 720p and a film of
// 180p).
//
// NVENC and libaom are estimates that were not measured: constant quality of
// NVENC runs 3 to 4 above CRF for the same picture, and libaom's scale is that
// of SVT-AV1.
var qualities = map[string]levels{
	X264:      {27, 21, 18, 15},
	X265:      {29, 23, 19, 16},
	SVTAV1:    {52, 34, 25, 18},
	AOM:       {52, 34, 25, 18},
	NVENC:     {31, 25, 21, 18},
	NVENCHEVC: {32, 27, 23, 20},
	NVENCAV1:  {40, 32, 26, 21},
}

// encoder returns the options of a video encoder.
//
// A key frame every 250 frames at the latest is the habit of most; it is said
// here so that seeking does not depend on a version.
func encoder(name string, e effort) []string {
	args := append([]string{"-c:v", name}, tempo(name, e)...)
	args = append(args, amount(name, e)...)
	switch name {
	case X264, NVENC:
		args = append(args, "-profile:v", "high", "-pix_fmt", "yuv420p")
	case X265, NVENCHEVC:
		profile, format := "main", "yuv420p"
		if e.deep {
			profile, format = "main10", "yuv420p10le"
			if name == NVENCHEVC {
				format = "p010le"
			}
		}
		// Apple's players open HEVC by this name alone.
		args = append(args, "-profile:v", profile, "-pix_fmt", format, "-tag:v", "hvc1")
	default:
		args = append(args, "-pix_fmt", "yuv420p")
	}
	return append(args, "-g", "250")
}

// tempo is how much time an encoder takes for the same picture, how many
// threads, and what it is told in words of its own.
func tempo(name string, e effort) []string {
	threads := min(e.threads, maxThreads)
	switch name {
	case X264:
		args := []string{"-preset", "veryfast"}
		if threads > 0 {
			// x264 wants half as many again, as in its own default: its
			// threads wait for each other.
			args = append(args, "-threads:v", strconv.Itoa((threads*3+1)/2))
		}
		return args
	case X265:
		// Its words go past FFmpeg's log. Key frames are closed: players that
		// seek to an open one show what is not there.
		params := "log-level=error:open-gop=0"
		if threads > 0 {
			params += fmt.Sprintf(":pools=%d", threads)
		}
		return []string{"-preset", "veryfast", "-x265-params", params + e.light.x265()}
	case SVTAV1:
		args := []string{"-preset", "9"}
		if threads > 0 {
			// Since SVT-AV1 3 this is a level that ends at 6.
			args = append(args, "-svtav1-params", fmt.Sprintf("lp=%d", min(threads, 6)))
		}
		return args
	case AOM:
		args := []string{"-cpu-used", "6", "-row-mt", "1"}
		if threads > 0 {
			args = append(args, "-threads:v", strconv.Itoa(threads))
		}
		return args
	}
	return []string{"-preset", "p4", "-rc", "vbr"}
}

// amount is how much of the picture is kept: by quality, or by bits a second.
func amount(name string, e effort) []string {
	rate := func(n int64) string { return strconv.FormatInt(n, 10) }
	scale := "-crf"
	if OnGPU(name) {
		scale = "-cq"
	}
	switch {
	case e.rate > 0 && (name == SVTAV1 || name == AOM): // they bound no peaks beside a mean
		return []string{"-b:v", rate(e.rate)}
	case e.rate > 0:
		return []string{"-b:v", rate(e.rate), "-maxrate:v", rate(e.rate * 3 / 2), "-bufsize:v", rate(e.rate * 3)}
	case OnGPU(name) || name == AOM:
		return []string{scale, qualities[name].of(e.quality), "-b:v", "0"}
	}
	return []string{scale, qualities[name].of(e.quality)}
}
