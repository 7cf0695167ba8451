//go:build linux || darwin

package local

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

func supported() error { return nil }

// ownSession makes the process the leader of a new session and of a process
// group that has its pid as number.
func ownSession(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }

// signalGroup signals every process of a group. A group that is gone, or of
// which only zombies are left (EPERM on macOS), needs no signal.
func signalGroup(pid int, s syscall.Signal) error {
	err := syscall.Kill(-pid, s)
	if err != nil && !errors.Is(err, syscall.ESRCH) && !errors.Is(err, syscall.EPERM) {
		return fmt.Errorf("signal process group: %w", err)
	}
	return nil
}

// lock is a file whose flock(2) belongs to the open file: a process that
// inherits it holds the lock too, until the last of them ends.
type lock struct{ *os.File }

// openLock opens the file of a lock, and makes it where it is missing.
func openLock(path string) (lock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return lock{}, fmt.Errorf("open lock: %w", err)
	}
	return lock{f}, nil
}

// tryExclusive takes the lock if nobody has it. Close lets it go.
func (l lock) tryExclusive() (free bool, err error) { return l.try(syscall.LOCK_EX) }

// tryShared takes the lock together with others who only look.
func (l lock) tryShared() (free bool, err error) { return l.try(syscall.LOCK_SH) }

func (l lock) try(how int) (bool, error) {
	for {
		switch err := syscall.Flock(int(l.Fd()), how|syscall.LOCK_NB); {
		case err == nil:
			return true, nil
		case errors.Is(err, syscall.EWOULDBLOCK):
			return false, nil
		case !errors.Is(err, syscall.EINTR):
			return false, fmt.Errorf("take lock: %w", err)
		}
	}
}
