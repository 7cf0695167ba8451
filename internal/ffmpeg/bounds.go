package ffmpeg

import (
	"context"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// bounds are the most that one process which reads a stranger's file may
// take, so that a bomb ends that process and nothing else. A field that is
// zero bounds nothing.
type bounds struct {
	// memory is private memory that can be written to, in bytes: heap, stacks
	// of threads, the data of libraries (RLIMIT_DATA). It is not the address
	// space (RLIMIT_AS): CUDA reserves far more of that than there is memory,
	// and would not start.
	memory int64
	// cpu is processor time of all threads, in seconds (RLIMIT_CPU): the
	// last resort against a process that runs on when all else has failed.
	cpu int64
	// file is the length of any file that it writes, in bytes (RLIMIT_FSIZE).
	file int64
}

// Bounds that hold for every such process. A core dump would hold a stranger's
// video, and fill the disk.
const (
	maxOpenFiles = 256 // a GPU's driver opens some dozens
	maxCore      = 0
)

// oomScore makes the kernel take this process first when memory runs out
// (proc(5), oom_score_adj): the worker and its other jobs go on.
const oomScore = 1000

const (
	// leastMemory is allowed on the smallest machine: 4096 x 2176 on two
	// threads needs 1.2 GiB of it (TestBoundsLetTheLargestFrameThrough).
	leastMemory = 2 << 30
	// mostMemory is allowed on the largest one: with 16 threads, the most that
	// Args asks for, no video within the limits comes near.
	mostMemory = 16 << 30
	// toolFile bounds what a tool that only looks may write: the cache of
	// fontconfig at most.
	toolFile = 64 << 20
	// cpuGrace is added to processor time, which is counted in whole seconds.
	cpuGrace = 10
)

// toolBounds are those of a tool that looks at a file for at most timeout.
func (t Tools) toolBounds(timeout time.Duration) bounds {
	return bounds{memory: t.memory(), cpu: cpuSeconds(timeout), file: toolFile}
}

// bounds are those of a run. Memory has none on a GPU: what its driver maps
// as private memory differs from card to card, and is not ours to judge. What
// the file itself may ask for is bounded there too (-max_alloc, -max_pixels),
// and the kernel still takes FFmpeg first.
func (r Render) bounds(ctx context.Context, memory int64) bounds {
	b := bounds{memory: memory}
	if slices.ContainsFunc(r.Args, OnGPU) {
		b.memory = 0
	}
	if deadline, ok := ctx.Deadline(); ok {
		b.cpu = cpuSeconds(time.Until(deadline))
	}
	if r.Limits.MaxBytes > 0 {
		// FFmpeg itself stops at MaxBytes (-fs), and then moves the index,
		// which is not counted, to the front.
		b.file = r.Limits.MaxBytes + r.Limits.MaxBytes/4 + toolFile
	}
	return b
}

// spent reports whether a process that has ended had used up its processor
// time. FFmpeg takes SIGXCPU for a wish to end, and exits by itself.
func (b bounds) spent(p *os.ProcessState) bool {
	return b.cpu > 0 && p != nil && p.UserTime()+p.SystemTime() >= time.Duration(b.cpu)*time.Second
}

// cpuSeconds is all the processor time that a machine can spend on something
// within d.
func cpuSeconds(d time.Duration) int64 {
	return int64(math.Ceil(max(d, 0).Seconds()))*int64(runtime.NumCPU()) + cpuGrace
}

// memory is what one process may use here.
func (t Tools) memory() int64 {
	if t.Memory > 0 {
		return t.Memory
	}
	return min(max(memory(os.DirFS("/")), leastMemory), mostMemory)
}

// memory returns how much memory this process may use, in bytes: that of the
// machine, or the least limit of its control groups. 0 where it is not told.
func memory(root fs.FS) int64 {
	total := int64(math.MaxInt64)
	text, err := fs.ReadFile(root, "proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		// "MemTotal:        8148968 kB"
		if words := strings.Fields(line); len(words) == 3 && words[0] == "MemTotal:" {
			if kib, err := strconv.ParseInt(words[1], 10, 64); err == nil && kib < math.MaxInt64>>10 {
				total = kib << 10
			}
		}
	}
	eachGroup(root, "memory", func(version int, group string) {
		name := "memory.max"
		if version == 1 {
			name = "memory.limit_in_bytes"
		}
		text, err := fs.ReadFile(root, path.Join(group, name))
		if err != nil {
			return
		}
		if limit, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && limit > 0 { // not "max"
			total = min(total, limit)
		}
	})
	if total == math.MaxInt64 {
		return 0
	}
	return total
}

// String is the form in which bounds travel to the launcher.
func (b bounds) String() string { return fmt.Sprintf("%d,%d,%d", b.memory, b.cpu, b.file) }

// parseBounds reads what String wrote.
func parseBounds(s string) (b bounds, err error) {
	_, err = fmt.Sscanf(s, "%d,%d,%d", &b.memory, &b.cpu, &b.file)
	return b, err
}
