package client

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/api-gpu/api-gpu"
)

// steerFor is how long the answer about machines may take: the server may ask
// its provider first, who lets it wait between two calls.
const steerFor = 2 * time.Minute

// GPUs returns the machines of a server: what is rented, and why. With plan it
// also tells what the next round would do. It is the admin's.
func (c *Client) GPUs(ctx context.Context, plan bool) (apigpu.GPUs, error) {
	k := call{method: http.MethodGet, path: []string{"gpus"}, silence: steerFor}
	if plan {
		k.query = url.Values{"plan": {"true"}}
	}
	var all apigpu.GPUs
	err := c.ask(ctx, k, &all)
	return all, err
}

// EndGPU ends a machine, by its id or its provider's. A job that runs on it is
// queued again. One that is gone is GPUNotFound. It is the admin's.
func (c *Client) EndGPU(ctx context.Context, id string) (apigpu.GPUsEnded, error) {
	return c.endGPUs(ctx, "gpus", id)
}

// EndGPUs ends all machines of the server. It is the admin's.
func (c *Client) EndGPUs(ctx context.Context) (apigpu.GPUsEnded, error) {
	return c.endGPUs(ctx, "gpus")
}

func (c *Client) endGPUs(ctx context.Context, path ...string) (apigpu.GPUsEnded, error) {
	var ended apigpu.GPUsEnded
	err := c.ask(ctx, call{method: http.MethodDelete, path: path, silence: steerFor}, &ended)
	return ended, err
}
