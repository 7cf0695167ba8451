package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/api-gpu/api-gpu/internal/crash"
	"github.com/api-gpu/api-gpu/internal/gpu"
)

// loopback is where workers listen, and nowhere else.
const loopback = "127.0.0.1"

// launchTimeout bounds the time from fork to the record of the process: a few
// milliseconds, unless the disk hangs.
const launchTimeout = 10 * time.Second

// Create starts the worker in a session of its own, where neither the end of
// the orchestrator nor a Ctrl-C at its terminal reaches it. The id is the
// label.
func (p *Provider) Create(ctx context.Context, req gpu.Request) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if err := check(req); err != nil {
		return "", err
	}
	select {
	case p.creating <- struct{}{}:
		defer func() { <-p.creating }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	switch labels, err := p.labels(); {
	case err != nil:
		return "", errors.Join(gpu.ErrRefused, err)
	case slices.Contains(labels, req.Label):
		// Ambiguous on purpose: under this label there is an instance.
		return "", fmt.Errorf("create %s: %w", req.Label, os.ErrExist)
	case len(labels) >= p.cfg.MaxInstances:
		return "", gpu.ErrNoCapacity
	}
	f := p.folder(req.Label)
	launched, err := p.launch(ctx, f, req)
	if err == nil {
		err = launched.wait(ctx)
		crash.Point("local.recorded")
	}
	if err == nil {
		return req.Label, nil
	}
	return "", p.undo(f, fmt.Errorf("create %s: %w", req.Label, err))
}

// check refuses what cannot become a folder and an environment.
func check(req gpu.Request) error {
	if req.Offer.ID != offerID {
		return fmt.Errorf("offer %q: %w", req.Offer.ID, gpu.ErrOfferGone)
	}
	if !isLabel(req.Label) {
		return fmt.Errorf("label %q cannot be a folder's name: %w", req.Label, gpu.ErrRefused)
	}
	for name, value := range req.Env {
		if !envName.MatchString(name) || strings.ContainsRune(value, 0) {
			return fmt.Errorf("environment variable %q cannot be set: %w", name, gpu.ErrRefused)
		}
	}
	return nil
}

// envName is what a shell passes on; others it may drop in silence.
var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// undo removes the folder of a launch that failed. Where it can, the refusal
// is definite: who has the lock knows that no process is left, and none can
// come. Otherwise cause stays ambiguous, and the folder listed.
func (*Provider) undo(f folder, cause error) error {
	if errors.Is(cause, os.ErrExist) {
		return cause // somebody else made it in this moment
	}
	// The context may have ended; this is brief, and worth a definite answer.
	l, err := f.take(context.Background())
	if err != nil {
		return errors.Join(cause, err)
	}
	defer l.Close()
	if err := f.remove(); err != nil {
		return errors.Join(cause, err)
	}
	return fmt.Errorf("%w: %w", gpu.ErrRefused, cause)
}

// launch is a worker's process between its start and its own word that it
// wrote down who it is.
type launch struct {
	word *os.File // its end of the pipe
}

// recorded is the word.
const recorded = "recorded"

// script is what the process runs before it becomes the worker ($0): write
// who it is, say so, keep the lock at a number that os/exec does not hand out
// to the worker's own children, and go on as the worker. It uses nothing but
// built-ins where it can, and no text of ours but $0. Where nobody listens to
// the word any more, SIGPIPE ends it: no worker starts without an
// orchestrator that knows.
const script = recordScript + ` && printf ` + recorded + ` >&4 && exec "$0" 9>&3 3>&- 4>&-`

// launch makes the folder, takes the lock and starts the process.
func (p *Provider) launch(ctx context.Context, f folder, req gpu.Request) (launch, error) {
	slots := req.Offer.Slots
	if slots < 1 {
		slots = p.cfg.Slots
	}
	if err := f.make(intent{Slots: slots}); err != nil {
		return launch{}, err
	}
	crash.Point("local.made")
	l, err := f.take(ctx)
	if err != nil {
		return launch{}, err
	}
	crash.Point("local.locked")
	defer l.Close() // the process keeps its copy, and with it the lock
	output, err := os.OpenFile(f.path(logFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return launch{}, fmt.Errorf("open log: %w", err)
	}
	defer output.Close()
	hear, say, err := os.Pipe()
	if err != nil {
		return launch{}, fmt.Errorf("open pipe: %w", err)
	}
	defer say.Close()
	cmd := &exec.Cmd{
		Path: "/bin/sh", Args: []string{"sh", "-c", script, p.cfg.Binary},
		Dir: f.dir, Env: environment(p.cfg.Env, req.Env, f),
		Stdout: output, Stderr: output,
		ExtraFiles: []*os.File{l.File, say}, // 3 and 4
	}
	ownSession(cmd)
	if err := cmd.Start(); err != nil {
		hear.Close()
		return launch{}, fmt.Errorf("start worker: %w", err)
	}
	crash.Point("local.started")
	go p.reap(f, cmd)
	return launch{word: hear}, nil
}

// wait returns nil when the process said that it is recorded.
func (l launch) wait(ctx context.Context) error {
	defer l.word.Close()
	ctx, cancel := context.WithTimeout(ctx, launchTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = l.word.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	said, err := io.ReadAll(io.LimitReader(l.word, 64))
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("wait for worker: %w", err)
	case string(said) != recorded:
		return errors.New("the worker's process ended before it began")
	}
	return nil
}

// environment is that of the worker: what passes from the orchestrator, what
// the request sets, and last what this provider alone decides.
func environment(base []string, asked map[string]string, f folder) []string {
	env := map[string]string{}
	for _, entry := range base {
		name, value, _ := strings.Cut(entry, "=")
		env[name] = value
	}
	maps.Copy(env, asked)
	maps.Copy(env, map[string]string{
		"HOST": loopback,
		// Port 0 lets the kernel choose, and the worker tells what it chose:
		// a port chosen here could be taken before the worker has it.
		"PORT":      "0",
		"PORT_FILE": f.path(portFile),
		"WORK_DIR":  f.path(workDir),
	})
	var list []string
	for name, value := range env {
		list = append(list, name+"="+value)
	}
	slices.Sort(list)
	return list
}

// reap waits for the process, so that it leaves no zombie, and logs its end.
// It ends with the process; a worker that outlives us is init's to reap.
func (p *Provider) reap(f folder, cmd *exec.Cmd) {
	err := cmd.Wait()
	if err == nil {
		p.cfg.Log.Info("worker ended", "label", f.label)
		return
	}
	p.cfg.Log.Warn("worker ended", "label", f.label, "err", err, "output", f.lastWords())
}

// lastWords is the end of the worker's log, 1 KiB at most; empty where the
// folder is gone.
func (f folder) lastWords() string {
	file, err := os.Open(f.path(logFile))
	if err != nil {
		return ""
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil && info.Size() > 1024 {
		_, _ = file.Seek(-1024, io.SeekEnd)
	}
	text, _ := io.ReadAll(io.LimitReader(file, 1024))
	return string(bytes.ToValidUTF8(bytes.TrimSpace(text), []byte("?")))
}
