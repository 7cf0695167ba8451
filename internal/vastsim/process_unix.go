//go:build unix && !linux

package vastsim

import (
	"os/exec"
	"syscall"
)

// runBound runs a command in a session of its own and returns at its end. It
// ends with this process only where Close is called: there is no signal for
// the death of a parent here. ending is called when it has ended.
func runBound(cmd *exec.Cmd, started, ending func()) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	started()
	defer ending()
	return cmd.Wait()
}

// killAll kills the command with all that it started in its group.
func killAll(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
