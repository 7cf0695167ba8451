package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/ffmpeg"
	"github.com/api-gpu/api-gpu/internal/selfdestroy"
)

// childPipe is the child's end of the pipe: the first descriptor after the
// standard ones.
const childPipe = 3

// childOOM makes the kernel take the child before this process when memory
// runs out, and FFmpeg, which has 1000, before either (proc(5), oom_score_adj).
const childOOM = "500"

// killGap is between two looks for processes that are still to be killed.
const killGap = 50 * time.Millisecond

// keeper holds the lease of a rented machine. All but listen runs on one
// goroutine, so that a process id is never signaled after it was reaped.
type keeper struct {
	self    *selfdestroy.Self
	log     *slog.Logger
	ended   chan os.Signal // SIGCHLD
	renewal chan int64     // until when the lease is good, by the monotonic clock
	pause   func(crashes int) time.Duration
	child   child
	crashes int
}

// child is the process that does the work; the zero value is none.
type child struct {
	pid    int
	began  time.Time
	pipe   *os.File
	silent chan struct{} // closed when the pipe is no longer heard
}

// supervise runs the worker as a child until ctx ends, which ends the child in
// order, or until the lease does, which is first good for so long: then it
// kills the child with all that it started, and ends this machine.
func supervise(ctx context.Context, first time.Duration, self *selfdestroy.Self, log *slog.Logger) error {
	return newKeeper(self, log).run(ctx, first)
}

func newKeeper(self *selfdestroy.Self, log *slog.Logger) *keeper {
	return &keeper{self: self, log: log, ended: make(chan os.Signal, 1), renewal: make(chan int64), pause: crashPause}
}

func (k *keeper) run(ctx context.Context, first time.Duration) error {
	// The kernel kills a child when the thread that started it ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	k.prepare()
	signal.Notify(k.ended, unix.SIGCHLD)
	defer signal.Stop(k.ended)
	lease, start := time.NewTimer(first), time.NewTimer(0)
	defer lease.Stop()
	defer start.Stop()
	k.log.Info("holding the lease of this rented machine", "first", first.String())
	for {
		lost := false
		select {
		case <-ctx.Done():
			return k.leave()
		case <-lease.C:
			return k.end(ctx, errLeaseOver)
		case until := <-k.renewal:
			if left := min(time.Duration(until-monotonic()), apigpu.MaxLease); left > 0 {
				lease.Reset(left)
			}
		case <-start.C:
			if err := k.start(); err != nil {
				k.log.Error("the worker does not start", "error", err)
				k.crashes++
				lost = true
			}
		case <-k.ended:
			had := k.child.pid
			k.reap()
			lost = had > 0 && k.child.pid == 0
		}
		switch {
		case k.crashes > maxCrashes:
			return k.end(ctx, errCrashing)
		case lost:
			start.Reset(k.pause(k.crashes))
		}
	}
}

// prepare makes this process the one to which orphans come, as the first of a
// container is anyway, and hides its environment, with the marketplace's key,
// from the processes that read strangers' files. Where a host forbids that, the
// lease is held all the same.
func (k *keeper) prepare() {
	err := errors.Join(unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0))
	if err != nil {
		k.log.Warn("this process could not set itself apart from the worker", "error", err)
	}
}

// start starts a child, with the arguments of this process.
func (k *keeper) start() error {
	hear, say, err := os.Pipe()
	if err != nil {
		return err
	}
	defer say.Close()
	args := append(append([]string{}, os.Args...), fmt.Sprintf("--lease-pipe=%d", childPipe))
	// Not os/exec, which waits for its processes itself: reap waits for all.
	pid, err := syscall.ForkExec(ffmpeg.Self, args, &syscall.ProcAttr{
		Env: childEnv(), Files: []uintptr{0, 1, 2, say.Fd()},
		// A group of its own: Ctrl-C on a terminal comes to us, who pass it on.
		Sys: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		return errors.Join(fmt.Errorf("start the worker: %w", err), hear.Close())
	}
	// Where /proc is read-only the order in which the kernel kills is its own.
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte(childOOM), 0)
	k.child = child{pid: pid, began: time.Now(), pipe: hear, silent: make(chan struct{})}
	k.log.Info("the worker has started", "pid", pid)
	go k.listen(k.child)
	return nil
}

// listen passes on what the child says of renewals, until the pipe is closed
// on either side.
func (k *keeper) listen(c child) {
	defer close(c.silent)
	lines := bufio.NewScanner(c.pipe)
	lines.Buffer(make([]byte, 64), 64)
	for lines.Scan() {
		until, err := strconv.ParseInt(lines.Text(), 10, 64)
		if err != nil {
			k.log.Warn("the worker says what is no renewal: it is not heard any more")
			_ = c.pipe.Close() // its next renewal fails
			return
		}
		k.renewal <- until
	}
}

// reap takes note of all processes that have ended, and reports whether none
// is left.
func (k *keeper) reap() (none bool) {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return errors.Is(err, unix.ECHILD)
		case pid == 0:
			return false
		case pid == k.child.pid:
			k.childEnded(status)
		}
	}
}

// childEnded forgets the child. What it had started goes too.
func (k *keeper) childEnded(status unix.WaitStatus) {
	c := k.child
	k.child = child{}
	_ = c.pipe.Close()
	for heard := false; !heard; {
		select {
		case <-k.renewal: // from the dead: it counts no more
		case <-c.silent:
			heard = true
		}
	}
	if time.Since(c.began) >= steady {
		k.crashes = 0
	}
	k.crashes++
	k.log.Error("the worker has ended", "pid", c.pid, "how", ending(status), "in_a_row", k.crashes)
	k.kill()
}

func ending(status unix.WaitStatus) string {
	if status.Signaled() {
		return status.Signal().String()
	}
	return fmt.Sprintf("exit status %d", status.ExitStatus())
}

// kill kills the child, its group, and every process that has come to us.
// Those that they started come to us when they are dead, unless the kernel
// kills them along: it is called until none is left.
func (k *keeper) kill() {
	if k.child.pid > 0 {
		_ = unix.Kill(-k.child.pid, unix.SIGKILL)
	}
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		return
	}
	for _, list := range lists {
		pids, err := os.ReadFile(list)
		if err != nil {
			continue // that thread is gone
		}
		for _, word := range strings.Fields(string(pids)) {
			if pid, err := strconv.Atoi(word); err == nil && pid > 1 {
				_ = unix.Kill(pid, unix.SIGKILL)
			}
		}
	}
}

// leave ends the child in order, and then this process: whoever sent the signal
// ends this machine, or stops it.
func (k *keeper) leave() error {
	if k.child.pid > 0 {
		_ = unix.Kill(k.child.pid, unix.SIGTERM)
	}
	timeout := time.NewTimer(leaveTimeout)
	defer timeout.Stop()
	for killed := false; k.child.pid > 0; {
		select {
		case <-k.ended:
			k.reap()
		case <-k.renewal: // it is over
		case <-timeout.C:
			if !killed {
				k.log.Warn("the worker does not end: it is killed")
			}
			killed = true
			k.kill()
			timeout.Reset(killGap)
		}
	}
	return nil
}

// end kills all that runs here and ends this machine, for ever until the
// marketplace says that it is gone. ctx cuts that short: whoever ends it has
// ended the machine.
func (k *keeper) end(ctx context.Context, why error) error {
	k.log.Error("ending this machine", "why", why)
	k.kill()
	over := make(chan struct{})
	go func() {
		defer close(over)
		_ = k.self.End(ctx) // it has but one error, that of ctx
	}()
	again := time.NewTicker(killGap)
	defer again.Stop()
	for {
		select {
		case <-again.C:
			k.kill()
			if k.reap() {
				again.Reset(time.Second)
			}
		case <-k.ended:
			k.reap()
		case <-k.renewal: // too late
		case <-over:
			return why
		}
	}
}

// renewals returns how the child tells the first process of a renewal: by the
// time until which the lease is good, so that a message that lay about cannot
// extend it.
func renewals(fd int) (func(ttl time.Duration) error, error) {
	unix.CloseOnExec(fd) // FFmpeg has no say in this
	pipe := os.NewFile(uintptr(fd), "lease pipe")
	if pipe == nil {
		return nil, errors.New("--lease-pipe names no descriptor")
	}
	return func(ttl time.Duration) error {
		_, err := io.WriteString(pipe, strconv.FormatInt(monotonic()+int64(ttl), 10)+"\n")
		return err
	}, nil
}

// monotonic is the clock that all processes of a machine share and nobody can
// set, in nanoseconds.
func monotonic() int64 {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		panic(err) // it takes two valid words
	}
	return now.Nano()
}
