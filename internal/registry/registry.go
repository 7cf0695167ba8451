// Package registry asks the registry of a container image what its tag means
// now: a digest, that there is no such image for us, or nothing.
//
// It speaks the OCI distribution protocol (HEAD of a manifest, with the token
// that a registry may demand first; once for each image also what says which
// machines it is for) and downloads no image.
package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

// Bounds of what is asked. oras reads at most 128 KiB of a token's answer and
// 8 KiB of an error's.
const (
	lookupTimeout = 10 * time.Second
	maxHeader     = 64 << 10
)

// Config says which image.
type Config struct {
	// Image is its name as docker pull takes it: with a tag, a digest or both.
	Image string
	// Login is "-u USER -p TOKEN registry.host", empty for a public image. It
	// is told to that registry only.
	Login string
	// Transport makes the calls; nil takes one of our own. Now is time.Now
	// where it is nil. Tests have others, of both.
	Transport http.RoundTripper
	Now       func() time.Time
	// Log takes what is found out, whenever it changes; discarded when nil.
	Log *slog.Logger
}

// Image is one image and what is known about it. It is safe for concurrent
// use; Close it when done.
type Image struct {
	cfg        Config
	named      reference.Named
	repository *remote.Repository
	transport  http.RoundTripper

	ctx    context.Context // of the lookups; ends with Close
	cancel context.CancelFunc
	checks sync.WaitGroup

	mu     sync.Mutex
	digest string    // the last that was learned; empty if none was
	known  time.Time // when it was
	asked  time.Time // when the last lookup ended; zero before the first
	fault  error     // of that lookup
	// judged is the digest of which it is known whether machines can run it.
	judged   digest.Digest
	isMisfit bool
	asking   chan struct{} // closed when the lookup under way ends; nil without one
}

// New checks the names and asks nobody. Its errors repeat no secret.
func New(cfg Config) (*Image, error) {
	named, err := reference.ParseNormalizedNamed(cfg.Image)
	if err != nil {
		return nil, errors.New("the image has no name that docker pull takes, such as ghcr.io/you/worker:1.0")
	}
	host, credential, err := parseLogin(cfg.Login)
	if err != nil {
		return nil, err
	}
	repository, err := remote.NewRepository(reference.TrimNamed(named).Name())
	if err != nil {
		return nil, fmt.Errorf("the image has no name that docker pull takes: %w", err)
	}
	i := &Image{cfg: cfg, named: reference.TagNameOnly(named), repository: repository, transport: cfg.Transport}
	if i.cfg.Now == nil {
		i.cfg.Now = time.Now
	}
	if i.cfg.Log == nil {
		i.cfg.Log = slog.New(slog.DiscardHandler)
	}
	if i.transport == nil {
		i.transport = newTransport()
	}
	client := &auth.Client{Client: &http.Client{Transport: registries{i.transport}, Timeout: lookupTimeout}, Cache: auth.NewCache()}
	client.SetUserAgent("api-gpu")
	if cfg.Login != "" {
		client.Credential = auth.StaticCredential(host, credential)
	}
	// As docker has it: a registry on this machine needs no TLS.
	repository.Client, repository.PlainHTTP = client, loopback(i.Host())
	i.ctx, i.cancel = context.WithCancel(context.Background())
	return i, nil
}

func newTransport() http.RoundTripper {
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, TLSHandshakeTimeout: lookupTimeout,
		MaxResponseHeaderBytes: maxHeader, MaxIdleConns: 4, IdleConnTimeout: time.Minute,
	}
}

// Host is the host of the image's registry, without its port.
func (i *Image) Host() string {
	domain := reference.Domain(i.named)
	if host, _, err := net.SplitHostPort(domain); err == nil {
		return host
	}
	return domain
}

// String is the image's name, as it was given.
func (i *Image) String() string { return i.cfg.Image }

// Close ends a lookup that is under way.
func (i *Image) Close() {
	i.cancel()
	i.checks.Wait()
	if t, ok := i.transport.(*http.Transport); ok {
		t.CloseIdleConnections()
	}
}

// Lookup asks the registry once, and returns the digest of the image. The
// error is gpu.ErrNoImage where the registry says so, and gpu.ErrPlatform where
// it is for other machines; after any other nothing is known.
func (i *Image) Lookup(ctx context.Context) (digest string, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	version := ""
	switch named := i.named.(type) {
	case reference.Digested: // beside a tag, too: docker goes by the digest
		version = named.Digest().String()
	case reference.Tagged:
		version = named.Tag()
	}
	manifest, err := i.repository.Manifests().Resolve(ctx, version)
	if err == nil {
		if i.misfit(ctx, manifest) {
			return "", fmt.Errorf("%s: %w", i.cfg.Image, gpu.ErrPlatform)
		}
		return manifest.Digest.String(), nil
	}
	answer, answered := errors.AsType[*errcode.ErrorResponse](err)
	refused := answered && (answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden || answer.StatusCode == http.StatusNotFound)
	if refused || errors.Is(err, errdef.ErrNotFound) || errors.Is(err, auth.ErrBasicCredentialNotFound) {
		return "", fmt.Errorf("%s: %w", i.cfg.Image, gpu.ErrNoImage)
	}
	return "", fmt.Errorf("ask the registry for %s: %w", i.cfg.Image, err)
}

// errStranger is an answer that decides nothing.
var errStranger = errors.New("somebody else than the registry answered")

// registries passes on only what a registry says about absence: a proxy or a
// login page on the way says 403 and 404 as well, in HTML.
type registries struct{ next http.RoundTripper }

func (r registries) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := r.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		marked := resp.Header.Get("Docker-Distribution-Api-Version") != "" || resp.Header.Get("WWW-Authenticate") != "" ||
			strings.Contains(resp.Header.Get("Content-Type"), "json")
		if !marked {
			resp.Body.Close()
			return nil, fmt.Errorf("status %d: %w", resp.StatusCode, errStranger)
		}
	}
	return resp, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
