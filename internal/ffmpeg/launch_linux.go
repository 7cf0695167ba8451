package ffmpeg

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"

	apigpu "github.com/api-gpu/api-gpu"
)

// Self is this very program, also after its file has been replaced by a newer
// one: a Launcher, if its main calls Launch first.
const Self = "/proc/self/exe"

// launcherName is the name under which this program is started to become
// FFmpeg.
const launcherName = "api-gpu-launcher"

// Launch turns this process into the program that it was started to launch,
// within its bounds, and then does not return. In any other process it does
// nothing. A main that is to be a Launcher calls it before all else.
//
// Limits are set by the process itself, before it becomes FFmpeg, so there is
// no moment in which FFmpeg runs without. Its parent could set them too
// (prlimit), but only after the start, and by chance after the first bytes of
// the file have been read; and os/exec has no place for them. It costs 4 ms a
// start (measured).
func Launch() {
	if len(os.Args) < 4 || os.Args[0] != launcherName {
		return
	}
	b, err := parseBounds(os.Args[1])
	if err == nil {
		err = b.apply()
	}
	if err == nil {
		err = dieWith(os.Args[2])
	}
	if err == nil {
		err = syscall.Exec(os.Args[3], os.Args[3:], os.Environ())
	}
	fmt.Fprintf(os.Stderr, "%s: %v\n", launcherName, err)
	os.Exit(126) // a shell's word for what was found and did not run
}

// dieWith asks the kernel once more to end this process with whoever started
// it, of which parent is the pid. What os/exec asked for belongs to the thread
// that this process began on, and Go may have moved on to another, which is
// the one that becomes FFmpeg: the wish was lost in 1 % of starts (measured).
// The thread is locked from here on.
func dieWith(parent string) error {
	runtime.LockOSThread()
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_SET_PDEATHSIG, uintptr(syscall.SIGKILL), 0); errno != 0 {
		return fmt.Errorf("die with the worker: %w", errno)
	}
	if strconv.Itoa(os.Getppid()) != parent { // it died before that took effect
		return errors.New("the worker is gone")
	}
	return nil
}

// apply bounds this process, and whatever it becomes.
func (b bounds) apply() error {
	// Raising it needs no right; where /proc is read-only the order in which
	// the kernel kills is its own.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte(strconv.Itoa(oomScore)), 0)
	for _, l := range []struct {
		what        int
		soft, slack int64
		always      bool
	}{
		{syscall.RLIMIT_CORE, maxCore, 0, true},
		{syscall.RLIMIT_NOFILE, maxOpenFiles, 0, true},
		{syscall.RLIMIT_DATA, b.memory, 0, false},
		{syscall.RLIMIT_CPU, b.cpu, 5, false}, // first SIGXCPU, then SIGKILL
		{syscall.RLIMIT_FSIZE, b.file, 0, false},
	} {
		if l.soft == 0 && !l.always {
			continue
		}
		var now syscall.Rlimit
		if err := syscall.Getrlimit(l.what, &now); err != nil {
			return fmt.Errorf("read limit %d: %w", l.what, err)
		}
		hard := min(now.Max, uint64(l.soft+l.slack)) // what is tighter already stays so
		next := syscall.Rlimit{Cur: min(uint64(l.soft), hard), Max: hard}
		if err := syscall.Setrlimit(l.what, &next); err != nil {
			return fmt.Errorf("set limit %d: %w", l.what, err)
		}
	}
	return nil
}

// bound makes cmd start within b, where there is a launcher.
func (t Tools) bound(cmd *exec.Cmd, b bounds) {
	if t.Launcher == "" || cmd.Err != nil {
		return
	}
	cmd.Args = append([]string{launcherName, b.String(), strconv.Itoa(os.Getpid()), cmd.Path}, cmd.Args[1:]...)
	cmd.Path = t.Launcher
}

// killed returns what the end of a process by a signal means, and nil for any
// other end.
func killed(err error) *apigpu.Error {
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return nil
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() {
		return nil
	}
	switch status.Signal() {
	case syscall.SIGXCPU:
		return cpuSpent(err)
	case syscall.SIGXFSZ:
		return apigpu.E(apigpu.TooLarge, err, "The result would be larger than is accepted.").WithHint("Ask for a lower quality.")
	case syscall.SIGKILL: // not ours: that is known before
		return apigpu.E(apigpu.EncoderFailed, err, "FFmpeg was killed: the machine ran out of memory, most likely.")
	}
	return nil
}
