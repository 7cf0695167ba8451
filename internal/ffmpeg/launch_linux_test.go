package ffmpeg

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	apigpu "github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/test/need"
)

// launched runs a shell script within bounds.
func launched(t *testing.T, b bounds, dir, script string) (string, error) {
	t.Helper()
	need.Program(t, "sh")
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
	cmd.Dir = dir
	(Tools{Launcher: Self}).bound(cmd, b)
	out, _, err := collect(t.Context(), cmd)
	return string(out), err
}

// The process that reads the file has its limits from its first instruction.
func TestLaunch(t *testing.T) {
	t.Parallel()
	out, err := launched(t, bounds{memory: 1 << 30, cpu: 77, file: 1 << 20}, "", "cat /proc/self/limits; cat /proc/self/oom_score_adj; tr '\\0' ' ' < /proc/$$/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	said := strings.Join(strings.Fields(out), " ")
	for _, want := range []string{
		"Max data size 1073741824 1073741824", "Max cpu time 77 82", "Max file size 1048576 1048576",
		"Max open files 256 256", "Max core file size 0 0", "Max address space unlimited", " 1000 ",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("no %q in %s", want, said)
		}
	}
	if strings.Contains(said, launcherName) {
		t.Errorf("the launcher is still there: %s", said)
	}
	if out, err = launched(t, bounds{}, "", "cat /proc/self/limits"); err != nil || !strings.Contains(strings.Join(strings.Fields(out), " "), "Max cpu time unlimited") {
		t.Errorf("without bounds: %s, %v", out, err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", "echo ran")
	(Tools{Launcher: Self}).bound(cmd, bounds{})
	cmd.Args[1] = "nonsense"
	if out, _, err := collect(t.Context(), cmd); err == nil {
		t.Errorf("without bounds that can be read it runs: %s", out)
	}
}

// The launcher loses nothing of what binds FFmpeg to its worker, on whichever
// thread it happens to run.
func TestLaunchedDiesWithItsParent(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for range 25 { // each is a start of this very program
		cmd := exec.CommandContext(t.Context(), self, askForDeath)
		(Tools{Launcher: Self}).bound(cmd, bounds{})
		cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0") // else the race detector waits a second
		var out strings.Builder
		cmd.Stdout = &out
		if err := runLocked(cmd); err != nil || out.String() != "9" {
			t.Fatalf("it is told to die by %s, %v", out.String(), err)
		}
	}
	cmd := exec.CommandContext(t.Context(), self, askForDeath)
	(Tools{Launcher: Self}).bound(cmd, bounds{})
	cmd.Args[2] = "1" // another parent than the one that it has
	if out, err := cmd.Output(); err == nil {
		t.Errorf("an orphan runs, and says %s", out)
	}
}

// A process that hits a limit ends alone, with a code that tells which.
func TestLimitsEndTheProcess(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, script string
		bounds       bounds
		want         apigpu.Code
	}{
		{"processor time", "while :; do :; done", bounds{cpu: 1}, apigpu.JobTimeout},
		{"a long file", "exec head -c 1000000 /dev/zero > file", bounds{file: 4096}, apigpu.TooLarge},
		{"killed by the kernel", "kill -KILL $$", bounds{}, apigpu.EncoderFailed},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := launched(t, c.bounds, t.TempDir(), c.script)
			if why := killed(err); why == nil || why.Code != c.want {
				t.Errorf("%v, want %s", err, c.want)
			}
		})
	}
}

// A picture that takes more memory than there is ends its own FFmpeg, at the
// look and at the run, and leaves the next file alone.
func TestMemoryBomb(t *testing.T) {
	need.Long(t)
	need.FFmpeg(t)
	t.Parallel()
	tools, dir := testTools(t), t.TempDir()
	ffmpeg(t, dir, append(command("-f|lavfi|-i|testsrc2=s=2560x1440:r=5:d=1|"+x264), "-f", "mp4", InputFile)...)
	writeScript(t, dir, 2560, 1440)
	in, err := tools.Probe(t.Context(), filepath.Join(dir, InputFile))
	if err != nil {
		t.Fatal(err)
	}
	args := Args(Spec{Output: apigpu.Output{Quality: apigpu.Draft}}, in, Abilities{Encoder: X264, Threads: 2})
	small := tools
	small.Memory = 256 << 20
	_, err = small.Run(t.Context(), Render{Dir: dir, Args: args})
	if e := apigpu.AsError(err); apigpu.CodeOf(err) != apigpu.EncoderFailed || !strings.Contains(e.Message, "memory") {
		t.Errorf("a run without memory: %v", err)
	}
	small.Memory = 16 << 20
	if _, err := small.Probe(t.Context(), filepath.Join(dir, InputFile)); err == nil {
		t.Error("a look without memory succeeds")
	}
	if report, err := tools.Run(t.Context(), Render{Dir: dir, Args: args}); err != nil || report.Frame != 5 {
		t.Errorf("with memory: %+v, %v", report, err)
	}
}

// The largest picture that is accepted fits into the least memory.
func TestBoundsLetTheLargestFrameThrough(t *testing.T) {
	need.Long(t)
	need.FFmpeg(t)
	t.Parallel()
	tools, dir := testTools(t), t.TempDir()
	tools.Memory = leastMemory
	ffmpeg(t, dir, append(command("-f|lavfi|-i|testsrc2=s=4096x2176:r=5:d=1|"+x264), "-f", "mp4", InputFile)...)
	writeScript(t, dir, 4096, 2176)
	in, err := tools.Probe(t.Context(), filepath.Join(dir, InputFile))
	if err != nil {
		t.Fatal(err)
	}
	args := Args(Spec{Limits: DefaultLimits()}, in, Abilities{Encoder: X264, Threads: 2})
	if _, err := tools.Run(t.Context(), Render{Dir: dir, Args: args, Limits: DefaultLimits()}); err != nil {
		t.Error(err)
	}
}

func TestBounds(t *testing.T) {
	t.Parallel()
	if (bounds{cpu: 1}).spent(nil) {
		t.Error("a process that never was has used up its time")
	}
	cpu := Render{Args: []string{"-c:v", X264}, Limits: Limits{MaxBytes: 1 << 30}}.bounds(t.Context(), 5)
	if cpu.memory != 5 || cpu.cpu != 0 || cpu.file <= 1<<30 {
		t.Errorf("on the CPU: %+v", cpu)
	}
	if gpu := (Render{Args: []string{"-c:v", NVENC}}).bounds(t.Context(), 5); gpu.memory != 0 {
		t.Errorf("on a GPU: %+v", gpu)
	}
	if s := cpuSeconds(time.Minute); s < 60 {
		t.Errorf("%d s of processor time for a minute", s)
	}
	if b, err := parseBounds(bounds{1, 2, 3}.String()); err != nil || b != (bounds{1, 2, 3}) {
		t.Errorf("%+v, %v", b, err)
	}
}

func TestMemory(t *testing.T) {
	t.Parallel()
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	machine := file("MemTotal:        8388608 kB\nMemFree: 1 kB\n")
	for _, c := range []struct {
		name string
		root fstest.MapFS
		want int64
	}{
		{"not Linux", nil, 0},
		{"a machine", fstest.MapFS{"proc/meminfo": machine}, 8 << 30},
		{"nonsense", fstest.MapFS{"proc/meminfo": file("MemTotal: much kB\n")}, 0},
		{"v2 container", fstest.MapFS{"proc/meminfo": machine, "proc/self/cgroup": file("0::/\n"), "sys/fs/cgroup/memory.max": file("536870912\n")}, 512 << 20},
		{"v2 without a limit", fstest.MapFS{"proc/meminfo": machine, "proc/self/cgroup": file("0::/a\n"), "sys/fs/cgroup/a/memory.max": file("max\n")}, 8 << 30},
		{"v1 container", fstest.MapFS{"proc/meminfo": machine, "proc/self/cgroup": file("7:memory:/docker/1f\n"),
			"sys/fs/cgroup/memory/memory.limit_in_bytes": file("1073741824\n")}, 1 << 30},
		{"v1 without a limit", fstest.MapFS{"proc/meminfo": machine, "proc/self/cgroup": file("7:memory:/\n"),
			"sys/fs/cgroup/memory/memory.limit_in_bytes": file("9223372036854771712\n")}, 8 << 30},
	} {
		if got := memory(c.root); got != c.want {
			t.Errorf("%s: %d bytes, want %d", c.name, got, c.want)
		}
	}
	if got := memory(os.DirFS("/")); got <= 0 {
		t.Errorf("this machine has %d bytes", got)
	}
}
