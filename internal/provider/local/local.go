// Package local is the provider that runs workers on this machine: in
// development, and for who has a GPU of their own.
//
// # How an instance is kept
//
// Each instance is a folder, named after its label:
//
//	instance.json   the intent: what was asked for; no secrets
//	lock            an flock(2), held by every process of the instance
//	process         who the worker is; written by its own process
//	port            the port of the worker; written by the worker
//	worker.log      what it printed
//	work/           its WORK_DIR
//
// The lock answers the question whether anything of the instance still lives.
// It is taken before the first process is started, inherited by each (ffmpeg
// included), and let go by the kernel at the end of the last one, whatever
// killed it. No pid can be mistaken, no reboot confuses it, and a zombie does
// not hold it. Destroy removes a folder only when it has the lock.
//
// The record in "process" answers whom to signal. The worker's process writes
// it before it becomes the worker, so that there is no moment at which a
// worker runs and nobody wrote down who it is, however the orchestrator ends.
// It is not synced to disk: the crash that could lose it ends the process too.
//
// Workers outlive an orchestrator that is killed, but not what kills all
// around it: the end of a container, or a stop by systemd without
// KillMode=process.
package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

// Config says what to run, where, and how often.
type Config struct {
	// Binary is the worker program: a path, or a name to be found in PATH.
	Binary string
	// Dir holds a folder for each instance. It is made where it is missing.
	Dir string
	// MaxInstances is how many there may be at once; at least 1.
	MaxInstances int
	// Slots is how many jobs each runs at once; at least 1.
	Slots int
	// Env is the environment of the orchestrator. Of it a worker gets what
	// it needs to find programs, libraries and the GPU; the rest, keys
	// above all, is left out.
	Env []string
	// Log takes what becomes of the workers; discarded when nil.
	Log *slog.Logger
}

// Provider is a gpu.Provider of processes. All its state is in the folder, so
// that a restarted orchestrator finds the workers of the one before.
type Provider struct {
	cfg   Config
	grace patience

	// creating is full while an instance is made, so that two creates cannot
	// both take the last place. A channel, so that who waits sees its context.
	creating chan struct{}
}

var _ gpu.Provider = (*Provider)(nil)

// patience is how long Destroy waits.
type patience struct {
	term time.Duration // for an end after SIGTERM, before SIGKILL
	kill time.Duration // for the end after SIGKILL
}

// offerID is the id of the only offer.
const offerID = "local"

// New checks the configuration and makes Dir. It fails where the worker
// program is missing, and on systems other than Linux and macOS.
func New(cfg Config) (*Provider, error) {
	if err := supported(); err != nil {
		return nil, err
	}
	if cfg.MaxInstances < 1 || cfg.Slots < 1 {
		return nil, fmt.Errorf("local: %d instances of %d slots, must be at least 1 each", cfg.MaxInstances, cfg.Slots)
	}
	binary, err := exec.LookPath(cfg.Binary)
	if err != nil {
		return nil, fmt.Errorf(`the worker program %q is missing (build it with "make build"): %w`, cfg.Binary, err)
	}
	// Absolute, because workers run in folders of their own.
	if cfg.Binary, err = filepath.Abs(binary); err != nil {
		return nil, fmt.Errorf("find worker program: %w", err)
	}
	if cfg.Dir, err = filepath.Abs(cfg.Dir); err != nil {
		return nil, fmt.Errorf("find folder of instances: %w", err)
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make folder of instances: %w", err)
	}
	if err := sweep(cfg.Dir); err != nil {
		return nil, err
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.Env = slices.DeleteFunc(slices.Clone(cfg.Env), func(entry string) bool { return !passes(entry) })
	return &Provider{
		cfg:      cfg,
		grace:    patience{term: 3 * time.Second, kill: 2 * time.Second},
		creating: make(chan struct{}, 1),
	}, nil
}

// sweep removes the folders whose removal a crash cut short. Nothing lives in
// them: who renamed them had the lock.
func sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list instances: %w", err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), gonePrefix) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("remove what is left of an instance: %w", err)
		}
	}
	return nil
}

// passes tells whether a worker may have this entry of the orchestrator's
// environment. It is a list of what is needed, not of what is secret: a
// secret with a new name must not slip through.
func passes(entry string) bool {
	name, _, _ := strings.Cut(entry, "=")
	switch name {
	case "PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH":
		return true
	}
	return strings.HasPrefix(name, "CUDA_") || strings.HasPrefix(name, "NVIDIA_")
}

// Name implements gpu.Provider.
func (*Provider) Name() string { return "local" }

// Traits: time is free, and a listing is the state of this very moment.
func (*Provider) Traits() gpu.Traits { return gpu.Traits{Free: true} }

// Offers returns the one offer, or none when MaxInstances are there.
func (p *Provider) Offers(ctx context.Context) ([]gpu.Offer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	labels, err := p.labels()
	if err != nil {
		return nil, err
	}
	if len(labels) >= p.cfg.MaxInstances {
		return nil, nil
	}
	return []gpu.Offer{{ID: offerID, Slots: p.cfg.Slots}}, nil
}

// Instances lists the folders. Running is whether the worker's own process
// lives; a folder that cannot be read is listed as far as it is known, and
// clears Complete.
func (p *Provider) Instances(ctx context.Context) (gpu.Snapshot, error) {
	snapshot := gpu.Snapshot{Complete: true, Began: time.Now()}
	labels, err := p.labels()
	if err != nil {
		return gpu.Snapshot{}, err
	}
	for _, label := range labels {
		// On macOS each look runs a program, so there may be time to lose.
		if err := ctx.Err(); err != nil {
			return gpu.Snapshot{}, err
		}
		instance, err := p.folder(label).instance(ctx, p.cfg.Slots)
		if errors.Is(err, os.ErrNotExist) {
			continue // destroyed since the folder of folders was read
		}
		if err != nil {
			snapshot.Complete = false
			p.cfg.Log.WarnContext(ctx, "an instance cannot be read", "label", label, "err", err)
		}
		snapshot.Instances = append(snapshot.Instances, instance)
	}
	return snapshot, nil
}

// labels returns the names of the folders in Dir that can be labels. Others,
// such as lost+found, are not ours.
func (p *Provider) labels() ([]string, error) {
	entries, err := os.ReadDir(p.cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("list instances: %w", err)
	}
	var labels []string
	for _, e := range entries {
		if e.IsDir() && isLabel(e.Name()) {
			labels = append(labels, e.Name())
		}
	}
	return labels, nil
}

func (p *Provider) folder(label string) folder {
	return folder{label: label, dir: filepath.Join(p.cfg.Dir, label)}
}
