package registry

import (
	"context"
	"errors"
	"fmt"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/errdef"
)

// ErrPlatform is of an image that the registry has, and that the machines which
// are rented cannot run.
var ErrPlatform = errors.New("the image is not for linux/amd64")

// rented is the platform of the machines.
var rented = ocispec.Platform{OS: "linux", Architecture: "amd64"}

// Fits is Lookup for an image that shall run on rented machines: the error is
// ErrPlatform where it is for others only. Where the registry does not tell for
// which it is, nothing speaks against it.
func (i *Image) Fits(ctx context.Context) (digest string, err error) {
	digest, err = i.Lookup(ctx)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	_, err = oras.Resolve(ctx, i.repository, digest, oras.ResolveOptions{TargetPlatform: &rented})
	if errors.Is(err, errdef.ErrNotFound) { // the image itself was found
		return "", fmt.Errorf("%s: %w", i.cfg.Image, ErrPlatform)
	}
	return digest, nil
}
