package vastsim

import (
	"errors"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// runBound runs a command in a session of its own and returns at its end. The
// kernel kills it when the thread that started it ends, and so with this
// process, however that ends. The goroutine is locked to its thread, which Go
// might end else while the command is still wanted.
//
// ending is called when the command has ended and its number is still its
// own: the last moment at which its group can be killed.
func runBound(cmd *exec.Cmd, started, ending func()) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	started()
	for { // leave it a zombie, which keeps its number
		err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	ending()
	return cmd.Wait()
}

// killAll kills the command with all that it started in its group.
func killAll(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
