package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/api-gpu/api-gpu/internal/crash"
)

// look is how often Destroy looks whether the lock is free. A blocking flock
// could not be given up when the context ends.
const look = 10 * time.Millisecond

// Destroy ends all processes of the instance and removes its folder: SIGTERM,
// up to 3 s, SIGKILL, up to 2 s more. When it returns nil nothing of the
// instance is left. It fails when something lives on: a process that the
// kernel does not let die, or one that left the worker's process group and
// took the lock along.
func (p *Provider) Destroy(ctx context.Context, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !isLabel(id) {
		return nil // not the id of anything here
	}
	f := p.folder(id)
	if !f.there() {
		return nil
	}
	// Made if it is missing, so that a create in this moment cannot have it.
	l, err := openLock(f.path(lockFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil // somebody else removed the folder just now
	}
	if err != nil {
		return fmt.Errorf("destroy %s: %w", id, err)
	}
	defer l.Close()
	if err := p.end(ctx, f, l); err != nil {
		return fmt.Errorf("destroy %s: %w", id, err)
	}
	crash.Point("local.ended")
	return f.remove()
}

// end signals the processes of the instance until the lock is ours.
func (p *Provider) end(ctx context.Context, f folder, l lock) error {
	began := time.Now()
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	asked := false
	for {
		free, err := l.tryExclusive()
		if err != nil || free {
			return err
		}
		passed := time.Since(began)
		switch {
		case passed > p.grace.term+p.grace.kill:
			return errors.New("a process of the instance does not end")
		case passed > p.grace.term:
			_, err = f.signal(ctx, syscall.SIGKILL)
		case !asked:
			// False as long as the process has not written who it is.
			asked, err = f.signal(ctx, syscall.SIGTERM)
		}
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// signal sends a signal to the worker's process group, ffmpeg included, if
// that is known and certainly ours. The lock must have been seen held.
func (f folder) signal(ctx context.Context, s syscall.Signal) (sent bool, err error) {
	who, err := f.record()
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	now, found, err := inspect(ctx, who.pid)
	if err != nil {
		return false, err
	}
	if !sameGroup(who, now, found) {
		return false, nil
	}
	return true, signalGroup(who.pid, s)
}

// sameGroup tells whether the process group with the number of the recorded
// worker is still the worker's. now is the process that has this number.
//
// Without such a process the group, if there is one, is what the worker left
// behind: a number is not given to a new process while a group has it. With
// one that started at another time the number was given away, so nothing of
// the group was left.
func sameGroup(who identity, now process, found bool) bool {
	return !found || now.start == who.start
}
