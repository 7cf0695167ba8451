// Package ffmpeg drives FFmpeg: it looks at a file, decides the arguments,
// runs them with progress, and checks what came out.
//
// The decisions are pure: Args is a function of what is wanted (Spec), what the
// file is (Probe) and what the machine can do (Abilities). The rest is thin.
//
// FFmpeg 5.1 is the oldest version that works (-fps_mode). Behaviour that is
// said to be measured was seen with 5.1.9 and 7.1.5.
//
// # Trust
//
// The file is untrusted. FFmpeg reads it under a fixed name in a private
// folder, through the file protocol alone, with demuxers that open no second
// resource, and with an environment that holds none of our keys. No text of a
// user is ever part of an argument.
//
// # Clocks
//
// All times are on the clock of the result: 0 is where the file starts, which
// is the earliest start of its streams. FFmpeg shifts the input by that much
// before a filter sees it, so a cue at 0 appears with the first frame or
// sound, also where the first timestamp in the file is something else.
package ffmpeg

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// The names in a job's folder, which is the working folder of FFmpeg. They
// are fixed so that no filter string and no argument needs escaping.
const (
	InputFile   = "input"
	ScriptFile  = "captions.ass"
	TrackFile   = "captions.srt"
	OverlayFile = "emoji.png" // an animated one; see Overlay
	FontsFolder = "fonts"     // need not exist: the system's fonts are found too
	OutputFile  = "output.mp4"
)

const (
	// formats are the demuxers that may read an input. None of them opens
	// another file or address. Left out on purpose: hls, dash, concat, sdp,
	// rtp, image2, lavfi, ffmetadata and everything that reads a list.
	// (mov could follow data references; its enable_drefs is off by default.)
	formats = "mov,matroska,avi,mpegts,mpeg,flv,asf,ogg"
	// protocols is all that a demuxer may open its input with.
	protocols = "file"
	// maxAlloc bounds one allocation of FFmpeg, in bytes. A frame of 4096 x
	// 2176 in 32-bit float planes is 107 MB.
	maxAlloc = "2147483648"

	probeTimeout = 30 * time.Second // 0.26 s for 1 GB with its index at the end (measured)
	proveTimeout = 30 * time.Second // the first use of CUDA takes seconds
	maxOutput    = 64 << 20         // bytes of a tool's output: a million packets are 20 MB
	maxComplaint = 64 << 10         // bytes of a tool's complaint
)

// Tools are the programs, as paths.
type Tools struct {
	FFmpeg  string
	FFprobe string
	// Launcher starts the programs within bounds when they read a stranger's
	// file: Self, in a program whose main calls Launch. Empty starts them
	// without.
	Launcher string
	// Memory bounds one such process, in bytes; 0 takes what the machine has,
	// from 2 to 16 GiB.
	Memory int64
}

// Find looks for the programs on PATH.
func Find() (Tools, error) {
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		return Tools{}, fmt.Errorf("find ffmpeg: %w", err)
	}
	ffprobe, err := exec.LookPath("ffprobe")
	if err != nil {
		return Tools{}, fmt.Errorf("find ffprobe: %w", err)
	}
	return Tools{FFmpeg: ffmpeg, FFprobe: ffprobe}, nil
}

// Limits bound what is accepted. A field that is zero bounds nothing.
type Limits struct {
	MaxDuration time.Duration
	MaxPixels   int   // of one frame, as stored and as displayed
	MaxStreams  int   // of all kinds
	MaxBytes    int64 // of the result
}

// DefaultLimits are two hours, 4096 x 2176 pixels, 64 streams and 8 GiB.
func DefaultLimits() Limits {
	return Limits{MaxDuration: 2 * time.Hour, MaxPixels: 4096 * 2176, MaxStreams: 64, MaxBytes: 8 << 30}
}

// output runs a short command that reads no stranger's file to its end, and
// returns what it printed. The error of a command that fails is a
// *commandError.
func output(ctx context.Context, timeout time.Duration, program string, args ...string) ([]byte, error) {
	stdout, _, err := outputs(ctx, timeout, "", program, args...)
	return stdout, err
}

// outputs is output in a folder, with what the command said beside.
func outputs(ctx context.Context, timeout time.Duration, dir, program string, args ...string) (stdout, stderr []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	return collect(ctx, cmd)
}

// look is output of FFprobe, which reads a stranger's file, within bounds.
func (t Tools) look(ctx context.Context, timeout time.Duration, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, t.FFprobe, args...)
	t.bound(cmd, t.toolBounds(timeout))
	stdout, _, err := collect(ctx, cmd)
	return stdout, err
}

// collect runs cmd, which ends with ctx, and returns what it said.
func collect(ctx context.Context, cmd *exec.Cmd) (stdout, stderr []byte, err error) {
	out, complaint := &head{room: maxOutput}, &head{room: maxComplaint}
	cmd.Stdout, cmd.Stderr = out, complaint
	cmd.Env = environment(os.Environ())
	cmd.WaitDelay = time.Second
	err = runLocked(cmd)
	switch {
	case ctx.Err() != nil: // first: a killed command fails as well
		return nil, nil, context.Cause(ctx)
	case err != nil:
		return nil, nil, &commandError{complaint: strings.TrimSpace(string(complaint.kept)), err: err}
	case out.cut:
		return nil, nil, fmt.Errorf("read the answer of %s: more than %d bytes", cmd.Path, maxOutput)
	}
	return out.kept, complaint.kept, nil
}

// commandError is a command that ended badly, with what it said.
type commandError struct {
	complaint string
	err       error
}

func (e *commandError) Error() string { return fmt.Sprintf("%v: %s", e.err, e.complaint) }
func (e *commandError) Unwrap() error { return e.err }

// head is a writer that keeps the first room bytes and takes the rest in
// silence: a command that talks too much must not block.
type head struct {
	room int
	kept []byte
	cut  bool
}

func (h *head) Write(p []byte) (int, error) {
	fits := min(len(p), h.room-len(h.kept))
	h.kept = append(h.kept, p[:fits]...)
	h.cut = h.cut || fits < len(p)
	return len(p), nil
}

// environment keeps what FFmpeg, CUDA and fontconfig need. A worker's
// environment also holds its token and its keys, which code that parses
// strangers' files has no use for.
func environment(all []string) []string {
	kept := []string{"AV_LOG_FORCE_NOCOLOR=1", "SVT_LOG=1"} // SVT-AV1 talks past FFmpeg's log: errors alone
	for _, entry := range all {
		name, _, _ := strings.Cut(entry, "=")
		switch name {
		case "PATH", "HOME", "TMPDIR", "TMP", "TEMP", "SystemRoot", "LD_LIBRARY_PATH",
			"FONTCONFIG_FILE", "FONTCONFIG_PATH", "XDG_CACHE_HOME":
			kept = append(kept, entry)
		default:
			if strings.HasPrefix(name, "CUDA_") || strings.HasPrefix(name, "NVIDIA_") {
				kept = append(kept, entry)
			}
		}
	}
	return kept
}
