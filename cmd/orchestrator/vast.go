package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"regexp"
	"strings"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/fleet"
	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/httpapi"
	"github.com/api-gpu/api-gpu/internal/link"
	"github.com/api-gpu/api-gpu/internal/program"
	"github.com/api-gpu/api-gpu/internal/provider/vast"
	"github.com/api-gpu/api-gpu/internal/registry"
)

// VastConfig is what is rented on Vast.ai, and for whom.
type VastConfig struct {
	VastAPIKey         string   `name:"vast-api-key" env:"VAST_API_KEY" group:"Vast.ai" help:"Key of the account that rents. It stays on this machine."`
	VastWorkerImage    string   `name:"vast-worker-image" env:"VAST_WORKER_IMAGE" group:"Vast.ai" help:"Image of the worker, such as ghcr.io/you/api-gpu-worker:1.0. It is rented by the digest that its registry names at that moment. Default: the one that was published with this release; what is built between releases has none."`
	VastImageLogin     string   `name:"vast-image-login" env:"VAST_IMAGE_LOGIN" group:"Vast.ai" help:"Login of a private image: -u USER -p TOKEN registry.host. The owners of the machines can read it: let the token do nothing but pull."`
	VastImageCheck     string   `name:"vast-image-check" env:"VAST_IMAGE_CHECK" default:"auto" enum:"auto,true,false" group:"Vast.ai" help:"Ask the registry for the image before renting. auto: unless the marketplace is a simulated one on this machine, and the registry is not."`
	VastAPIURL         string   `name:"vast-api-url" env:"VAST_API_URL" default:"https://console.vast.ai" group:"Vast.ai" help:"Where the marketplace is; bin/vastsim plays one."`
	VastMaxPrice       price    `name:"vast-max-price" env:"VAST_MAX_PRICE" default:"1.0" group:"Vast.ai" help:"Most dollars for an hour of a machine, GPU and disk."`
	VastGPUModels      []string `name:"vast-gpu-models" env:"VAST_GPU_MODELS" sep:"," group:"Vast.ai" help:"Only these GPUs (RTX 3060,RTX 4090). Default: any with NVENC, the encoder of video."`
	VastMinVRAM        int      `name:"vast-min-vram" env:"VAST_MIN_VRAM" default:"4" group:"Vast.ai" help:"Least memory of the GPU, in GB."`
	VastVerified       bool     `name:"vast-verified" env:"VAST_VERIFIED" default:"true" negatable:"" group:"Vast.ai" help:"Only machines that Vast.ai has verified."`
	VastDatacenter     bool     `name:"vast-datacenter" env:"VAST_DATACENTER" default:"false" group:"Vast.ai" help:"Only machines in data centers."`
	VastCountries      []string `name:"vast-countries" env:"VAST_COUNTRIES" sep:"," group:"Vast.ai" help:"Only machines in these countries (DE,NL). Default: anywhere."`
	VastMinReliability float64  `name:"vast-min-reliability" env:"VAST_MIN_RELIABILITY" default:"0.95" group:"Vast.ai" help:"Least reliability of a machine, 0 to 1, as Vast.ai rates it."`
	EgressIPs          []string `name:"egress-ips" env:"EGRESS_IPS" sep:"," group:"Vast.ai" help:"Addresses from which this server reaches the internet: rented workers let in no other. Default: any may knock, and key and token decide."`
}

// workerImage is what is rented unless VAST_WORKER_IMAGE says another. The linker
// sets it where somebody builds both images, as the Action of a fork does:
// -ldflags "-X main.workerImage=ghcr.io/you/api-gpu-worker:v0.1.0".
var workerImage string

// published is where the worker's image is published with each release.
const published = "ghcr.io/api-gpu/api-gpu-worker"

// release is the version of a release, and not what git describe or Go makes of
// a commit after it (v0.1.0-3-g2fc6950, v0.1.1-0.20261126030405-2fc6950a1b2c).
var release = regexp.MustCompile(`^v\d+\.\d+\.\d+(-(alpha|beta|rc)\.?\d+)?$`)

// ownImage is the worker's image that belongs to this program; empty where none
// was published with its version.
func ownImage(linked, version string) string {
	if linked != "" || !release.MatchString(version) {
		return linked
	}
	return published + ":" + version
}

// vastDayUSD is BUDGET_DAY_USD=auto where time costs money.
const vastDayUSD = 5 * gpu.Dollar

// maxPrice is the most that an hour of a machine may cost, for those that turn
// out dearer than their offer said; 0 where none is paid for.
func (c *Config) maxPrice() gpu.USD {
	if !c.rented() {
		return 0
	}
	return gpu.USD(c.VastMaxPrice)
}

// proofOf is the marketplace of which a long IDLE_TIMEOUT wants to know that its
// machines end themselves; empty where nothing is to be shown.
func (c *Config) proofOf() string {
	if !c.rented() || c.AllowKeep {
		return ""
	}
	return c.VastAPIURL
}

// vastProvider checks the settings and calls nobody.
func (c *Config) vastProvider(log *slog.Logger) (*vast.Provider, error) {
	return vast.New(c.vastConfig(log))
}

func (c *Config) vastConfig(log *slog.Logger) vast.Config {
	return vast.Config{
		URL: c.VastAPIURL, Key: c.VastAPIKey, Image: c.VastWorkerImage, ImageLogin: c.VastImageLogin, Slots: c.WorkerJobs,
		MaxPrice: gpu.USD(c.VastMaxPrice), Models: c.VastGPUModels, MinVRAM: c.VastMinVRAM, Verified: c.VastVerified,
		Datacenter: c.VastDatacenter, Countries: c.VastCountries, MinReliability: c.VastMinReliability, Log: log,
	}
}

// vastImage is the image whose digest is rented; nil where its registry is not
// to be asked. It asks nobody yet.
func (c *Config) vastImage(log *slog.Logger) (*registry.Image, error) {
	if c.VastImageCheck == "false" {
		return nil, nil
	}
	image, err := registry.New(registry.Config{Image: c.VastWorkerImage, Login: c.VastImageLogin, Log: log})
	if err != nil {
		return nil, err
	}
	if c.VastImageCheck == "auto" && c.simulated() && !program.Loopback(image.Host()) {
		image.Close()
		return nil, nil
	}
	return image, nil
}

// simulated tells whether the marketplace is on this machine: then what is
// rented is too, and its image but a name.
func (c *Config) simulated() bool {
	u, err := url.Parse(c.VastAPIURL)
	return err == nil && program.Loopback(u.Hostname())
}

// rentalSettings stands for all that may be mended where nothing can be rented,
// and for this version. It tells nobody what they are.
func (c *Config) rentalSettings(identity fleet.Identity) (string, error) {
	key, err := link.Subkey(identity.Secret, "settings of the rental")
	if err != nil {
		return "", err
	}
	all, err := json.Marshal([]any{apigpu.Version(), apigpu.APIVersion, c.VastAPIURL, c.VastAPIKey, c.VastWorkerImage, c.VastImageLogin, c.EgressIPs})
	if err != nil {
		return "", fmt.Errorf("encode settings: %w", err)
	}
	mac := hmac.New(sha256.New, key)
	_, _ = mac.Write(all) // never fails
	return hex.EncodeToString(mac.Sum(nil)[:8]), nil
}

// vastFaults says what is wrong with the settings of the rental.
func (c *Config) vastFaults() (faults []error) {
	p, err := c.vastProvider(nil)
	if err != nil {
		var all interface{ Unwrap() []error }
		if errors.As(err, &all) {
			faults = append(faults, all.Unwrap()...)
		} else {
			faults = append(faults, err)
		}
	} else {
		p.Close()
		// Only now: what is no text of an image's name has been told.
		if image, err := c.vastImage(nil); err != nil {
			faults = append(faults, fmt.Errorf("VAST_WORKER_IMAGE, VAST_IMAGE_LOGIN: %w", err))
		} else if image != nil {
			image.Close()
		}
	}
	if _, err := c.allowedIPs(); err != nil {
		faults = append(faults, err)
	}
	return faults
}

// allowedIPs is EGRESS_IPS as workers read it.
func (c *Config) allowedIPs() (string, error) {
	var all []string
	for _, text := range c.EgressIPs {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		_, addrErr := netip.ParseAddr(text)
		_, rangeErr := netip.ParsePrefix(text)
		if addrErr != nil && rangeErr != nil {
			return "", fmt.Errorf("EGRESS_IPS: %q is no address such as 203.0.113.7", text)
		}
		all = append(all, text)
	}
	list := strings.Join(all, ",")
	if _, err := httpapi.ParseProxies(list); err != nil { // as the worker will
		return "", fmt.Errorf("EGRESS_IPS: %w", err)
	}
	return list, nil
}

// openImage is vastImage where workers are rented.
func (c *Config) openImage(log *slog.Logger) (*registry.Image, error) {
	if !c.rented() {
		return nil, nil
	}
	return c.vastImage(log)
}

// askImage is what the fleet asks before it rents, and when a machine could not
// pull the image; nil where the image is rented by the name that was given.
func (o *orchestrator) askImage() (before, after func(context.Context) (string, bool, error)) {
	if o.image == nil {
		return nil, nil
	}
	return o.image.Resolve, o.image.Recheck
}
