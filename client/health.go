package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/api-gpu/api-gpu"
)

// Health is a server's account of itself. What a server does not say is zero.
type Health struct {
	Status   string // ok, standby or degraded
	Service  string
	Version  string
	Role     string // leader, member (drives jobs, and starts no worker) or standby
	Provider string
	Uptime   time.Duration
	Workers  HealthWorkers
	Jobs     HealthJobs
	Warnings []string
}

// HealthWorkers counts the workers of an orchestrator.
type HealthWorkers struct {
	Ready   int `json:"ready"`
	Booting int `json:"booting"`
}

// HealthJobs counts the jobs that have not ended.
type HealthJobs struct {
	Queued  int `json:"queued"`
	Running int `json:"running"`
}

// Health asks the server how it is. It needs no key. An unhealthy server may
// say so with an error status: as long as it says so, that is no error.
func (c *Client) Health(ctx context.Context) (Health, error) {
	resp, err := c.exchange(ctx, call{method: http.MethodGet, path: []string{"health"}, silence: c.pace.answer})
	if err != nil {
		return Health{}, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxProblem))
	if err != nil {
		return Health{}, c.lost(ctx, err)
	}
	if h, ok := healthIn(raw); ok {
		return h, nil
	}
	if resp.StatusCode/100 != 2 {
		return Health{}, refusalOf(c.host(), resp.StatusCode, resp.Header, raw)
	}
	return Health{}, apigpu.E(apigpu.Internal, errors.New("no status in the answer"), "%s answers, and not in the words of api-gpu.", c.host()).
		WithHint("Compare the address of the server.")
}

// healthIn reads each member on its own: one that a newer server writes in
// another way costs that member and not the whole.
func healthIn(raw []byte) (Health, bool) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil {
		return Health{}, false
	}
	var h Health
	var seconds float64
	for name, into := range map[string]any{
		"status": &h.Status, "service": &h.Service, "version": &h.Version, "role": &h.Role,
		"provider": &h.Provider, "uptime": &seconds, "workers": &h.Workers, "jobs": &h.Jobs,
	} {
		_ = json.Unmarshal(members[name], into) // tolerant, see above
	}
	h.Uptime = time.Duration(min(max(seconds, 0), 1e9) * float64(time.Second)) // 1e9 s still fit
	h.Warnings = warningsIn(members["warnings"])
	// The status of a problem is a number, and leaves this one empty.
	return h, h.Status != ""
}

// warningsIn reads a list of sentences, or of objects with a message.
func warningsIn(raw json.RawMessage) []string {
	var items []json.RawMessage
	if json.Unmarshal(raw, &items) != nil {
		return nil
	}
	var out []string
	for _, item := range items {
		var sentence string
		if json.Unmarshal(item, &sentence) != nil {
			var w apigpu.Warning
			_ = json.Unmarshal(item, &w)
			sentence = w.Message
		}
		if sentence != "" {
			out = append(out, sentence)
		}
	}
	return out
}
