package ffmpeg

import (
	"errors"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strings"

	apigpu "github.com/api-gpu/api-gpu"
)

// ErrGPU is wrapped by the error of a run in which the GPU or its driver
// refused to encode: the same job may well succeed on another machine, or on
// this one's CPU.
var ErrGPU = errors.New("the GPU refused to encode")

// complaints reads what FFmpeg says on its standard error. It is used by one
// goroutine at a time (see lines).
type complaints struct {
	log     io.Writer
	room    int // bytes that may still go to the log
	damaged int
	glyphs  map[string]bool // code points that no font has
	last    string          // as FFmpeg said it
	verdict verdict
}

func newComplaints(log io.Writer) *complaints {
	if log == nil {
		log = io.Discard
	}
	return &complaints{log: log, room: maxLog, glyphs: map[string]bool{}}
}

// line takes one line. A log that fails must not end a run that succeeds, so
// its error is dropped.
func (c *complaints) line(line []byte) {
	if len(line)+1 <= c.room {
		c.room -= len(line) + 1
		fmt.Fprintf(c.log, "%s\n", line)
	} else if c.room > 0 {
		c.room = 0
		fmt.Fprintln(c.log, "(more lines were dropped)")
	}
	text := string(line)
	if damage(text) {
		c.damaged++
		return
	}
	if g := missingGlyph(text); g != "" && len(c.glyphs) < maxGlyphs {
		c.glyphs[g] = true
	}
	c.verdict = max(c.verdict, judge(text))
	if strings.TrimSpace(text) != "" && !strings.Contains(text, "[warning]") && !strings.Contains(text, "Conversion failed!") {
		c.last = text // scrubbed when it is asked for: a bad file may bring a million lines
	}
}

// maxGlyphs bounds how many missing glyphs are told apart.
const maxGlyphs = 1000

// missingGlyph returns the code point, in hex, that libass says no font has:
// it draws a hollow box for it, and goes on. "" for any other line.
func missingGlyph(line string) string {
	_, rest, found := strings.Cut(line, "failed to find any fallback with glyph 0x")
	if !found {
		return ""
	}
	code, _, _ := strings.Cut(rest, " ")
	return code
}

// damage reports a line that FFmpeg writes once for each frame with faults,
// or each packet that gave none. 5.1 and 7.1 word the latter differently.
func damage(line string) bool {
	return strings.Contains(line, "corrupt decoded frame") ||
		strings.Contains(line, "Error while decoding stream") ||
		strings.Contains(line, "Error submitting packet to decoder")
}

// verdict is why a run failed; of several the highest counts, because a full
// disk or a lost GPU makes FFmpeg complain about much else.
type verdict int

const (
	unknownFault verdict = iota
	badMedia
	tooManyPixels
	noMemory
	gpuRefused
	diskFull
)

// judge returns what a line says about the reason of a failure. Only a failed
// run asks for it: several of these are also said in runs that succeed.
func judge(line string) verdict {
	has := func(parts ...string) bool {
		for _, part := range parts {
			if strings.Contains(line, part) {
				return true
			}
		}
		return false
	}
	switch {
	case has("No space left on device", "Disk quota exceeded"):
		return diskFull
	case has("OpenEncodeSessionEx failed", "No capable devices found", "Cannot load libcuda", "Cannot load libnvidia-encode",
		"Cannot load nvcuda", "CUDA_ERROR", "InitializeEncoder failed", "nvenc API version", "minimum required Nvidia driver"):
		return gpuRefused
	case has("Cannot allocate memory", "malloc of size"):
		return noMemory
	case has("exceeds specified max pixel count"):
		return tooManyPixels
	case has("moov atom not found", InputFile+": Invalid data found", "Error opening input: Invalid data",
		"Decode error rate", "Cannot determine format of input stream", "does not contain any stream",
		"matches no streams", "Format not on whitelist"):
		return badMedia
	}
	return unknownFault
}

// tooManyErrors is FFmpeg's exit status when most packets gave no frame
// (-max_error_rate, two thirds). 5.1 says nothing else about it.
const tooManyErrors = 69

// failure returns the error of a run that ended with err.
func (c *complaints) failure(err error) *apigpu.Error {
	if why := killed(err); why != nil {
		return why
	}
	last := scrub(c.last)
	cause := fmt.Errorf("run ffmpeg: %w: %s", err, last)
	reason := c.verdict
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == tooManyErrors {
		reason = max(reason, badMedia)
	}
	switch reason {
	case diskFull:
		return apigpu.E(apigpu.StorageFull, cause, "There is no room to write the result.")
	case gpuRefused:
		return apigpu.E(apigpu.EncoderFailed, errors.Join(ErrGPU, cause), "The GPU refused to encode the video.").
			WithHint("Send it again: another machine may take it.")
	case noMemory:
		return apigpu.E(apigpu.EncoderFailed, cause, "FFmpeg ran out of memory.")
	case tooManyPixels:
		return apigpu.E(apigpu.MediaTooBig, cause, "The video has more pixels than are accepted.")
	case badMedia:
		return apigpu.E(apigpu.MediaUndecodable, cause, "The video cannot be decoded.")
	}
	if last == "" {
		return apigpu.E(apigpu.EncoderFailed, cause, "FFmpeg could not write the result.")
	}
	return apigpu.E(apigpu.EncoderFailed, cause, "FFmpeg could not write the result: %s", last)
}

var (
	// prefixes are the names, addresses and levels in front of a message:
	// "[h264 @ 0x5649] [error] ".
	prefixes = regexp.MustCompile(`^(\[[^\]]*\] *)+`)
	// paths are absolute ones, of Unix and Windows.
	paths = regexp.MustCompile(`([A-Za-z]:\\|(^|[\s'"(=:])/)[^\s'",;)]*`)
)

// scrub makes a line of FFmpeg's fit for a stranger: printable, short, without
// addresses and without the paths of this machine.
func scrub(line string) string {
	line = prefixes.ReplaceAllString(line, "")
	line = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(line, "?"))
	line = paths.ReplaceAllString(line, "$2…")
	if runes := []rune(line); len(runes) > 200 {
		line = string(runes[:200]) + "…"
	}
	return strings.TrimSpace(line)
}
