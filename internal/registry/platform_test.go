package registry

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

// shelf is what a registry holds: manifests by tag and digest, and blobs.
type shelf map[string]struct {
	kind string
	body []byte
}

func (s shelf) put(t *testing.T, kind string, v any) ocispec.Descriptor {
	t.Helper()
	body, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	sum := digest.FromBytes(body)
	s[sum.String()] = struct {
		kind string
		body []byte
	}{kind, body}
	return ocispec.Descriptor{MediaType: kind, Digest: sum, Size: int64(len(body))}
}

func (s shelf) image(t *testing.T, arch string) ocispec.Descriptor {
	t.Helper()
	platform := ocispec.Platform{OS: "linux", Architecture: arch}
	config := s.put(t, ocispec.MediaTypeImageConfig, ocispec.Image{Platform: platform})
	m := s.put(t, ocispec.MediaTypeImageManifest, ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: config, Layers: []ocispec.Descriptor{}})
	m.Platform = &platform
	return m
}

func (s shelf) index(t *testing.T, archs ...string) ocispec.Descriptor {
	t.Helper()
	x := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex}
	for _, arch := range archs {
		x.Manifests = append(x.Manifests, s.image(t, arch))
	}
	return s.put(t, ocispec.MediaTypeImageIndex, x)
}

func (s shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	if strings.HasPrefix(r.URL.Path, "/v2/you/private/") {
		w.Header().Set("WWW-Authenticate", `Basic realm="hub"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	_, name, _ := strings.Cut(strings.NewReplacer("/blobs/", "/manifests/").Replace(r.URL.Path), "/manifests/")
	what, ok := s[name]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", what.kind)
	w.Header().Set("Docker-Content-Digest", digest.FromBytes(what.body).String())
	_, _ = w.Write(what.body)
}

// An image that was built on an Apple computer is in its registry, and no rented
// machine can run it.
func TestFits(t *testing.T) {
	t.Parallel()
	s := shelf{}
	for tag, d := range map[string]ocispec.Descriptor{
		"both": s.index(t, "amd64", "arm64"), "amd64": s.image(t, "amd64"), "arm64": s.image(t, "arm64"), "arm64-index": s.index(t, "arm64"),
		"artifact": s.put(t, ocispec.MediaTypeImageManifest, ocispec.Manifest{Config: ocispec.DescriptorEmptyJSON}),
	} {
		s[tag] = s[d.Digest.String()]
	}
	hub := httptest.NewServer(s)
	t.Cleanup(hub.Close)
	for image, want := range map[string]error{
		"worker:both": nil, "worker:amd64": nil, "worker:arm64": ErrPlatform, "worker:arm64-index": ErrPlatform, "worker:artifact": nil,
		"worker:none": gpu.ErrNoImage, "private:1": gpu.ErrNoImage,
	} {
		digest, err := open(t, Config{Image: strings.TrimPrefix(hub.URL, "http://") + "/you/" + image}).Fits(t.Context())
		if !errors.Is(err, want) || (err == nil) != (digest != "") || want == nil && err != nil {
			t.Errorf("%s: %q, %v, want %v", image, digest, err, want)
		}
	}
}
