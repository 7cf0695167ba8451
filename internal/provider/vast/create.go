package vast

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"regexp"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

const (
	// workerPort is where the worker listens in its container.
	workerPort = "3334"
	// maxLabel and maxEnv are the API's, in bytes.
	maxLabel = 256
	maxEnv   = 32768
)

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// Create asks for one instance, once. The call is not idempotent and knows no
// token that would make it so: two of them are two machines, and the bill is
// ours. So nothing is tried again here, not even what surely never reached the
// API (gpu.ErrNotSent) or was turned away at its door (gpu.RateLimited): both
// are definite, so the caller loses nothing by deciding anew, with a row, a
// budget and an offer of that moment. All that is not success and not the
// API's own definite word is ambiguous: a timeout, a reset, a 5xx, a page of
// somebody on the way, an answer that cannot be read.
func (p *Provider) Create(ctx context.Context, req gpu.Request) (id string, err error) {
	body, err := p.createBody(req)
	if err != nil {
		return "", err
	}
	var secrets []string
	for _, value := range req.Env {
		if len(value) >= minSecret {
			secrets = append(secrets, value)
		}
	}
	a, err := p.call(ctx, request{
		name: "create", lane: p.lanes.create, method: http.MethodPut, path: "/api/v0/asks/" + req.Offer.ID + "/",
		body: body, creating: true, secrets: secrets,
	})
	if err != nil {
		return "", err
	}
	return created(a)
}

// created reads the answer to a create.
func created(a answer) (id string, err error) {
	id = a.object.id("new_contract")
	err = a.outcome()
	switch {
	case err == nil && id != "":
		return id, nil
	case err == nil:
		// "Yes" without an id: it may exist.
		return "", a.err(errOdd)
	case id != "" && a.failure:
		// It exists and is stopped: its disk is paid for, and it may wake.
		return id, a.err(gpu.ErrPartial)
	case id != "":
		// An id and neither yes nor no.
		return "", a.err(errOdd)
	}
	return "", err
}

// createBody is the request. It refuses what the API would take for something
// else: a name in env that begins with "-" is an option of Docker's.
func (p *Provider) createBody(req gpu.Request) (map[string]any, error) {
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("vast: create: %w: %w", gpu.ErrRefused, fmt.Errorf(format, args...))
	}
	image := cmp.Or(req.Image, p.cfg.Image)
	switch {
	case req.Label == "" || len(req.Label) > maxLabel:
		return nil, refuse("a label has 1 to %d bytes, this one has %d", maxLabel, len(req.Label))
	case !validID(req.Offer.ID):
		return nil, refuse("%q is no id of an offer", oneLine(req.Offer.ID))
	case !validImage(image):
		return nil, refuse("%q is no name of an image", oneLine(image))
	}
	env := map[string]string{
		// Without "video" the driver's encoder is not put into the container.
		"NVIDIA_DRIVER_CAPABILITIES": "compute,video,utility",
		// With which the worker ends its own instance.
		"VAST_API_URL": p.base,
	}
	maps.Copy(env, req.Env)
	size := 0
	for name, value := range env {
		if !envName.MatchString(name) {
			return nil, refuse("%q is no name of a variable", oneLine(name))
		}
		size += len(name) + len(value) + 2
	}
	if size > maxEnv {
		return nil, refuse("the environment has %d bytes, at most %d fit", size, maxEnv)
	}
	env["-p "+workerPort+":"+workerPort] = "1"
	body := map[string]any{
		"client_id": "me", "image": image, "image_login": nil, "disk": p.cfg.DiskGB, "label": req.Label, "env": env,
		// The image's own entrypoint, without ssh and what it would install.
		"runtype": "args", "args": p.cfg.Args,
		// A machine that cannot start now is refused, not created stopped.
		"cancel_unavail": true, "target_state": "running",
	}
	if p.cfg.ImageLogin != "" {
		body["image_login"] = p.cfg.ImageLogin
	}
	return body, nil
}
