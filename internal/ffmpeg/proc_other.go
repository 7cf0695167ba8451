//go:build !linux

package ffmpeg

import (
	"os"
	"os/exec"
	"runtime"
)

// runLocked starts cmd and waits for its end. Only Linux can tie the child's
// life to ours; elsewhere, where workers run in development, a killed worker
// may leave its encoder to finish alone.
func runLocked(cmd *exec.Cmd) error { return cmd.Run() }

// interrupt asks a process to end. Windows cannot ask, only end.
func interrupt(p *os.Process) error {
	if runtime.GOOS == "windows" {
		return p.Kill()
	}
	return p.Signal(os.Interrupt)
}
