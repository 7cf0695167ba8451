//go:build !unix

package vastsim

import "os/exec"

// runBound runs a command and returns at its end. What it started is not
// ended with it here, nor it with this process.
func runBound(cmd *exec.Cmd, started, ending func()) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	started()
	defer ending()
	return cmd.Wait()
}

func killAll(cmd *exec.Cmd) { _ = cmd.Process.Kill() }
