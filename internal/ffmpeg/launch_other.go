//go:build !linux

package ffmpeg

import (
	"os/exec"

	apigpu "github.com/api-gpu/api-gpu"
)

// Self is no Launcher here: limits of a process are set on Linux only.
// Elsewhere workers run in development.
const Self = ""

// Launch does nothing here.
func Launch() {}

func (t Tools) bound(*exec.Cmd, bounds) {}

func killed(error) *apigpu.Error { return nil }
