package registry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

const (
	// fresh is how long what a lookup found out stands. A tag may move at any
	// time, and an image that was missing may have been pushed.
	fresh = time.Minute
	// patience is how long somebody who waits for a machine waits for a
	// registry. A lookup that takes longer goes on, for the next one.
	patience = 300 * time.Millisecond
)

// Resolve returns the name by which to pull the image now. pinned tells that
// it is one by digest, so that no two machines pull different ones. Where the
// registry does not say in time, it is the digest that was learned last, or
// else the name as it was given. The error is gpu.ErrNoImage, as the registry
// last said.
func (i *Image) Resolve(ctx context.Context) (name string, pinned bool, err error) {
	if asking := i.refresh(fresh); asking != nil {
		timer := time.NewTimer(patience)
		defer timer.Stop()
		select {
		case <-asking:
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	return i.answer()
}

// Recheck is Resolve, but asks the registry now and waits for its answer: for
// somebody who was just told that the image cannot be pulled.
func (i *Image) Recheck(ctx context.Context) (name string, pinned bool, err error) {
	select {
	case <-i.refresh(0):
	case <-ctx.Done():
	}
	return i.answer()
}

// Warm begins the first lookup, so that the first Resolve need not wait.
func (i *Image) Warm() { i.refresh(fresh) }

// refresh begins a lookup unless the last one is younger than age, and returns
// a channel that is closed when it ends; nil where none is needed.
func (i *Image) refresh(age time.Duration) <-chan struct{} {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.asking != nil {
		return i.asking
	}
	if since := i.cfg.Now().Sub(i.asked); !i.asked.IsZero() && since >= 0 && since < age {
		return nil
	}
	done := make(chan struct{})
	i.asking = done
	i.checks.Go(func() { i.check(done) })
	return done
}

// check does one lookup and keeps what it says.
func (i *Image) check(done chan<- struct{}) {
	defer close(done)
	digest, err := i.Lookup(i.ctx)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.asking = nil
	if i.ctx.Err() != nil {
		return
	}
	before, was := i.fault, i.digest
	i.asked, i.fault = i.cfg.Now(), err
	switch {
	case err == nil:
		i.digest, i.known = digest, i.asked
	case errors.Is(err, gpu.ErrNoImage):
		i.digest = ""
	}
	switch {
	case err == nil && (before != nil || digest != was):
		i.cfg.Log.Info("the image of the workers", "image", i.cfg.Image, "digest", digest)
	case err != nil && (before == nil || errors.Is(err, gpu.ErrNoImage) != errors.Is(before, gpu.ErrNoImage)):
		i.cfg.Log.Warn("the image of the workers", "error", err)
	}
}

// answer is what is known.
func (i *Image) answer() (name string, pinned bool, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if errors.Is(i.fault, gpu.ErrNoImage) {
		return "", false, i.fault
	}
	_, pinned = i.named.(reference.Digested)
	if pinned || i.digest == "" {
		return i.cfg.Image, pinned, nil
	}
	d, err := digest.Parse(i.digest)
	if err != nil {
		return i.cfg.Image, false, nil
	}
	exact, err := reference.WithDigest(reference.TrimNamed(i.named), d)
	if err != nil {
		return i.cfg.Image, false, nil
	}
	return reference.FamiliarString(exact), true, nil
}

// Warning is what an operator should know, or nothing.
func (i *Image) Warning() string {
	name, pinned, err := i.answer()
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case errors.Is(err, gpu.ErrPlatform):
		return fmt.Sprintf("nothing can be rented: the image %s is there, but not for linux/amd64, which is what is rented", i.cfg.Image)
	case err != nil:
		return fmt.Sprintf("nothing can be rented: the registry says of the image %s that it is not there, or that its login may not pull it", i.cfg.Image)
	case i.fault == nil:
		return ""
	case pinned && i.digest != "":
		return fmt.Sprintf("the registry of the image %s cannot be reached: machines get %s, which was learned at %s", i.cfg.Image, name, i.known.UTC().Format(time.RFC3339))
	case pinned:
		return fmt.Sprintf("the registry of the image %s cannot be reached: whether it is there was not checked", i.cfg.Image)
	}
	return fmt.Sprintf("the registry of the image %s cannot be reached: machines are rented with it by its tag, not by its digest", i.cfg.Image)
}
