package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/api-gpu/api-gpu/internal/crash"
	"github.com/api-gpu/api-gpu/internal/gpu"
)

// The files of an instance's folder.
const (
	intentFile = "instance.json"
	lockFile   = "lock"
	recordFile = "process" // the launch script names it too
	portFile   = "port"
	logFile    = "worker.log"
	workDir    = "work"
)

// labelForm is what a label looks like. It becomes the name of a folder, so
// it never begins with a dot.
var labelForm = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$`)

func isLabel(s string) bool { return labelForm.MatchString(s) }

// folder is one instance, as it is kept on disk.
type folder struct {
	label string
	dir   string // absolute
}

func (f folder) path(name string) string { return filepath.Join(f.dir, name) }

// intent is what Create was asked for, but for the environment: it holds
// secrets, and nobody needs it again.
type intent struct {
	Slots int `json:"slots"`
}

// make makes the folder and writes the intent. It fails where the label is
// taken, which the caller tells by os.ErrExist.
func (f folder) make(i intent) error {
	if err := os.Mkdir(f.dir, 0o700); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	crash.Point("local.make.folder")
	text, err := json.Marshal(i)
	if err != nil {
		return fmt.Errorf("write intent: %w", err)
	}
	if err := os.WriteFile(f.path(intentFile), text, 0o600); err != nil {
		return fmt.Errorf("write intent: %w", err)
	}
	crash.Point("local.make.intent")
	if err := os.Mkdir(f.path(workDir), 0o700); err != nil {
		return fmt.Errorf("make work folder: %w", err)
	}
	return nil
}

// takeTimeout bounds the wait for a lock that only somebody who looks, or who
// is about to end, can have.
const takeTimeout = 200 * time.Millisecond

// take makes the lock if it is missing and waits for it, briefly. It fails
// where a process of the instance holds it, or where the folder was removed.
func (f folder) take(ctx context.Context) (lock, error) {
	ctx, cancel := context.WithTimeout(ctx, takeTimeout)
	defer cancel()
	l, err := openLock(f.path(lockFile))
	if err != nil {
		return lock{}, err
	}
	if err := f.await(ctx, l); err != nil {
		l.Close()
		return lock{}, fmt.Errorf("take lock: %w", err)
	}
	return l, nil
}

// await tries until the lock is ours and still that of the folder: who had it
// before may have removed it.
func (f folder) await(ctx context.Context, l lock) error {
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for {
		free, err := l.tryExclusive()
		if err != nil {
			return err
		}
		if free {
			return f.owns(l)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// owns fails unless the open lock is the one that lies in the folder.
func (f folder) owns(l lock) error {
	here, err := l.Stat()
	if err != nil {
		return err
	}
	there, err := os.Stat(f.path(lockFile))
	if err != nil {
		return err
	}
	if !os.SameFile(here, there) {
		return os.ErrNotExist
	}
	return nil
}

// gonePrefix marks a folder that is being removed. It cannot begin a label.
const gonePrefix = ".gone-"

// remove removes the folder. Only who has the lock may. The folder gets
// another name first, so that it leaves the listings in one step, and nobody
// makes a lock in what is half removed. New removes what a crash leaves.
func (f folder) remove() error {
	gone := filepath.Join(filepath.Dir(f.dir), gonePrefix+f.label)
	if err := os.Rename(f.dir, gone); errors.Is(err, os.ErrNotExist) {
		return nil // somebody else was faster
	} else if err != nil {
		return fmt.Errorf("remove folder: %w", err)
	}
	crash.Point("local.remove.renamed")
	if err := os.RemoveAll(gone); err != nil {
		return fmt.Errorf("remove folder: %w", err)
	}
	crash.Point("local.removed")
	return nil
}

// instance tells what the folder says, and the kernel about its process. With
// an error the instance is what is known; the error is os.ErrNotExist where
// the folder is gone.
func (f folder) instance(ctx context.Context, slots int) (gpu.Instance, error) {
	i := gpu.Instance{ID: f.label, Label: f.label, Slots: slots}
	if s, err := f.intent(); err == nil && s.Slots > 0 {
		i.Slots = s.Slots
	}
	status, err := f.status(ctx)
	if err == nil && status == running {
		i.Address, err = f.address()
	}
	if err != nil {
		// Not known to be dead is not dead.
		i.Running, i.Status = true, "unreadable"
		return i, err
	}
	i.Running, i.Started, i.Status = status != ended, status == running, string(status)
	return i, nil
}

// intent reads what make wrote. There is none, or half of one, after a crash
// within make: then nothing was started either.
func (f folder) intent() (i intent, err error) {
	text, err := os.ReadFile(f.path(intentFile))
	if err != nil {
		return i, err
	}
	return i, json.Unmarshal(text, &i)
}

// status is the word for an instance's state, for people.
type status string

const (
	starting status = "starting" // there is a process, which is not yet the worker
	running  status = "running"
	ended    status = "ended" // exited, killed, or never started
)

func (f folder) status(ctx context.Context) (status, error) {
	who, err := f.record()
	switch {
	case err == nil:
	case !errors.Is(err, os.ErrNotExist):
		return "", err
	case !f.there():
		return "", os.ErrNotExist
	default:
		return f.unrecorded()
	}
	now, found, err := inspect(ctx, who.pid)
	switch {
	case err != nil:
		return "", err
	case found && now.start == who.start && !now.zombie:
		return running, nil
	}
	return ended, nil
}

// unrecorded is the status of an instance whose process has not written who
// it is: the lock tells whether there is one.
func (f folder) unrecorded() (status, error) {
	if _, err := os.Lstat(f.path(lockFile)); errors.Is(err, os.ErrNotExist) {
		return ended, nil // a crash before anything was started
	}
	l, err := openLock(f.path(lockFile))
	if err != nil {
		return "", err
	}
	defer l.Close()
	free, err := l.tryShared()
	if err != nil {
		return "", err
	}
	if free {
		return ended, nil
	}
	return starting, nil
}

// there tells whether there is such a folder. Something else with its name,
// a link to elsewhere above all, is not ours.
func (f folder) there() bool {
	info, err := os.Lstat(f.dir)
	return (err == nil && info.IsDir()) || (err != nil && !errors.Is(err, os.ErrNotExist))
}

// record reads who the worker's process is; os.ErrNotExist while that is not
// written, or not to its end.
func (f folder) record() (identity, error) {
	text, err := os.ReadFile(f.path(recordFile))
	if err != nil {
		return identity{}, fmt.Errorf("read record of process: %w", err)
	}
	return parseRecord(string(text))
}

// address is the base URL of the worker, empty until it tells a port. What is
// no port tells none: one bad worker must not make every listing incomplete.
func (f folder) address() (string, error) {
	text, err := os.ReadFile(f.path(portFile))
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read port: %w", err)
	}
	port, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 16)
	if err != nil || port == 0 {
		return "", nil
	}
	return "http://" + net.JoinHostPort(loopback, strconv.FormatUint(port, 10)), nil
}
