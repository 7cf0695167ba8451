package ffmpeg

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// runLocked starts cmd and waits for its end. The kernel kills the child when
// the thread that started it ends, and so when this process is killed: no
// encoder outlives its worker. The goroutine is locked to its thread until
// the child is gone, because Go may end an idle thread at any time, which
// would kill a child that is still wanted.
func runLocked(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGKILL,
		// A group of its own: Ctrl-C on a terminal is for the worker, which
		// then ends its jobs in order.
		Setpgid: true,
	}
	return cmd.Run()
}

// interrupt asks a process to end.
func interrupt(p *os.Process) error { return p.Signal(os.Interrupt) }
