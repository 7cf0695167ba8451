package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

// shelf is a registry of you/worker, whose documents are really what their
// digests say.
type shelf struct {
	*httptest.Server
	documents map[digest.Digest][]byte
	types     map[digest.Digest]string
	tags      map[string]digest.Digest
	reads     atomic.Int32 // not HEAD
	broken    atomic.Bool  // reads fail
}

func newShelf(t *testing.T) *shelf {
	s := &shelf{documents: map[digest.Digest][]byte{}, types: map[digest.Digest]string{}, tags: map[string]digest.Digest{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	name := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	d, tagged := s.tags[name]
	if !tagged {
		d = digest.Digest(name)
	}
	raw, there := s.documents[d]
	if !there {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if r.Method != http.MethodHead {
		if s.reads.Add(1); s.broken.Load() {
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
	}
	w.Header().Set("Content-Type", s.types[d])
	w.Header().Set("Content-Length", fmt.Sprint(len(raw)))
	w.Header().Set("Docker-Content-Digest", d.String())
	w.Write(raw)
}

// put keeps a document, and tells how it is referred to.
func (s *shelf) put(t *testing.T, mediaType string, document any) ocispec.Descriptor {
	t.Helper()
	raw, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	d := digest.FromBytes(raw)
	s.documents[d], s.types[d] = raw, mediaType
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(raw))}
}

// image keeps an image for one platform.
func (s *shelf) image(t *testing.T, mediaType string, p ocispec.Platform) ocispec.Descriptor {
	t.Helper()
	config := s.put(t, "application/octet-stream", ocispec.Image{Platform: p})
	manifest := s.put(t, mediaType, ocispec.Manifest{MediaType: mediaType, Config: config})
	manifest.Platform = &p
	return manifest
}

func TestLookupPlatform(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	oci := func(os, arch string) ocispec.Descriptor {
		return s.image(t, ocispec.MediaTypeImageManifest, ocispec.Platform{OS: os, Architecture: arch})
	}
	index := func(mediaType string, of ...ocispec.Descriptor) ocispec.Descriptor {
		return s.put(t, mediaType, ocispec.Index{MediaType: mediaType, Manifests: of})
	}
	nameless := oci("linux", "arm64")
	nameless.Platform = nil
	large := s.put(t, ocispec.MediaTypeImageManifest, ocispec.Manifest{Config: ocispec.Descriptor{Size: maxDocument + 1}})
	for name, c := range map[string]struct {
		root ocispec.Descriptor
		want error
	}{
		"amd64":                     {oci("linux", "amd64"), nil},
		"an ARM's":                  {oci("linux", "arm64"), gpu.ErrPlatform},
		"of Windows":                {oci("windows", "amd64"), gpu.ErrPlatform},
		"that does not say":         {oci("", ""), nil},
		"of Docker":                 {s.image(t, dockerManifest, ocispec.Platform{OS: "linux", Architecture: "amd64"}), nil},
		"of Docker on an ARM":       {s.image(t, dockerManifest, ocispec.Platform{OS: "linux", Architecture: "arm64"}), gpu.ErrPlatform},
		"index with it":             {index(ocispec.MediaTypeImageIndex, oci("linux", "arm64"), oci("linux", "amd64")), nil},
		"index without it":          {index(ocispec.MediaTypeImageIndex, oci("linux", "arm64"), oci("unknown", "unknown")), gpu.ErrPlatform},
		"list of Docker, with it":   {index(dockerList, oci("linux", "amd64")), nil},
		"list of Docker, without":   {index(dockerList, oci("linux", "arm64")), gpu.ErrPlatform},
		"index that does not say":   {index(ocispec.MediaTypeImageIndex, nameless), nil},
		"empty index":               {index(ocispec.MediaTypeImageIndex), gpu.ErrPlatform},
		"of an unknown type":        {s.put(t, "application/json", "?"), nil},
		"whose settings are huge":   {large, nil},
		"whose settings are absent": {s.put(t, ocispec.MediaTypeImageManifest, ocispec.Manifest{Config: ocispec.Descriptor{Digest: digestA, Size: 2}}), nil},
	} {
		s.tags["1.0"] = c.root.Digest
		i := open(t, Config{Image: strings.TrimPrefix(s.URL, "http://") + "/you/worker:1.0"})
		got, err := i.Lookup(t.Context())
		if !errors.Is(err, c.want) || (err == nil) != (got == c.root.Digest.String()) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if err != nil && (!errors.Is(err, gpu.ErrNoImage) || strings.Contains(err.Error(), "not there")) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Reading counts as a pull where pulls are counted, so it is done once for each
// image; and what cannot be read is rented.
func TestPlatformIsReadOnce(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	arm := s.image(t, ocispec.MediaTypeImageManifest, ocispec.Platform{OS: "linux", Architecture: "arm64"})
	amd := s.image(t, ocispec.MediaTypeImageManifest, ocispec.Platform{OS: "linux", Architecture: "amd64"})
	i := open(t, Config{Image: strings.TrimPrefix(s.URL, "http://") + "/you/worker:1.0"})
	lookup := func(moment string, want error, reads int32, warns bool) {
		t.Helper()
		_, _, err := i.Recheck(t.Context())
		if !errors.Is(err, want) || (err == nil) != (want == nil) || s.reads.Load() != reads {
			t.Errorf("%s: %v after %d reads", moment, err, s.reads.Load())
		}
		if w := i.Warning(); strings.Contains(w, "not for linux/amd64") != warns {
			t.Errorf("%s: warning %q", moment, w)
		}
	}
	s.tags["1.0"] = arm.Digest
	s.broken.Store(true)
	lookup("read too often", nil, 1, false)
	s.broken.Store(false)
	lookup("an ARM's", gpu.ErrPlatform, 3, true)
	lookup("again", gpu.ErrPlatform, 3, true)
	s.tags["1.0"] = amd.Digest
	lookup("built for it", nil, 5, false)
	lookup("again", nil, 5, false)
}
