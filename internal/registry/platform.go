package registry

import (
	"context"
	"encoding/json"
	"fmt"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
)

// rented is what a rented machine runs. A computer with another processor builds
// for its own unless it is told, and its image ends on a rented one at once.
var rented = ocispec.Platform{OS: "linux", Architecture: "amd64"}

// maxDocument bounds a manifest, and the settings of an image, in bytes.
const maxDocument = 4 << 20

// Media types of Docker's, from before there were those of OCI.
const (
	dockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
)

// misfit tells whether the image that has this manifest is for other machines
// than are rented. It is false where that does not become known. A registry may
// count what is read here as a pull, so one image is judged once.
func (i *Image) misfit(ctx context.Context, root ocispec.Descriptor) bool {
	i.mu.Lock()
	known, misfit := i.judged == root.Digest, i.isMisfit
	i.mu.Unlock()
	if known {
		return misfit
	}
	misfit, err := i.judge(ctx, root)
	if err != nil {
		i.cfg.Log.Debug("not known which machines the image is for", "image", i.cfg.Image, "error", err)
		return false
	}
	i.mu.Lock()
	i.judged, i.isMisfit = root.Digest, misfit
	i.mu.Unlock()
	return misfit
}

func (i *Image) judge(ctx context.Context, root ocispec.Descriptor) (misfit bool, err error) {
	switch root.MediaType {
	case ocispec.MediaTypeImageIndex, dockerList:
		var index ocispec.Index
		if err := i.read(ctx, root, &index); err != nil {
			return false, err
		}
		for _, m := range index.Manifests {
			if m.Platform == nil || fits(*m.Platform) {
				return false, nil
			}
		}
		return true, nil
	case ocispec.MediaTypeImageManifest, dockerManifest:
		var manifest ocispec.Manifest
		if err := i.read(ctx, root, &manifest); err != nil {
			return false, err
		}
		var settings ocispec.Platform // the settings hold these two among others
		if err := i.read(ctx, manifest.Config, &settings); err != nil {
			return false, err
		}
		return !fits(settings), nil
	}
	return false, fmt.Errorf("a manifest of an unknown type, %q", root.MediaType)
}

// fits is true of a platform that says nothing, too.
func fits(p ocispec.Platform) bool {
	return p.OS == "" || p.Architecture == "" || p.OS == rented.OS && p.Architecture == rented.Architecture
}

// read fetches a document that has this digest and size.
func (i *Image) read(ctx context.Context, d ocispec.Descriptor, into any) error {
	if d.Size > maxDocument {
		return fmt.Errorf("%s has %d bytes, more than any such document", d.Digest, d.Size)
	}
	raw, err := content.FetchAll(ctx, i.repository, d)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}
