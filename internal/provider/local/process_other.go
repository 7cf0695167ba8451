//go:build !linux && !darwin

package local

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// Nothing below is reached: New fails first.

var errUnsupported = errors.New("the local provider is not supported on this system: " +
	"run it on Linux or macOS, or start a worker by hand and use PROVIDER=static")

const recordScript = ""

func supported() error { return errUnsupported }

func ownSession(*exec.Cmd) {}

func signalGroup(int, syscall.Signal) error { return errUnsupported }

func startOf(string) (string, error) { return "", errUnsupported }

func inspect(context.Context, int) (process, bool, error) { return process{}, false, errUnsupported }

type lock struct{ *os.File }

func openLock(string) (lock, error) { return lock{}, errUnsupported }

func (lock) tryExclusive() (bool, error) { return false, errUnsupported }

func (lock) tryShared() (bool, error) { return false, errUnsupported }
