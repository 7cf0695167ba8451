package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/api-gpu/api-gpu"
)

// maxWait bounds the wait of one request, as the server does.
const maxWait = 600 * time.Second

// Job returns a job as it is, or at its end when that comes within wait. A
// wait above ten minutes counts as ten.
func (c *Client) Job(ctx context.Context, id string, wait time.Duration) (apigpu.Job, error) {
	wait = min(max(wait, 0), maxWait)
	k := call{method: http.MethodGet, path: []string{"jobs", id}, silence: c.pace.answer + wait}
	if wait > 0 {
		k.query = url.Values{"wait": {strconv.FormatFloat(wait.Seconds(), 'f', -1, 64)}}
	}
	var job apigpu.Job
	err := c.ask(ctx, k, &job)
	return job, err
}

// Filter selects jobs of a listing. The zero value selects the newest of all.
type Filter struct {
	Status apigpu.Status // empty: any
	Since  time.Time     // created at or after; zero: any
	Cursor string        // NextCursor of the page before
	Limit  int           // 1 to 100; 0 for the server's default
}

// Jobs returns one page of jobs, newest first.
func (c *Client) Jobs(ctx context.Context, f Filter) (apigpu.JobPage, error) {
	query := url.Values{}
	if f.Status != "" {
		query.Set("status", string(f.Status))
	}
	if !f.Since.IsZero() {
		query.Set("since", f.Since.UTC().Format(time.RFC3339Nano))
	}
	if f.Cursor != "" {
		query.Set("cursor", f.Cursor)
	}
	if f.Limit != 0 {
		query.Set("limit", strconv.Itoa(f.Limit))
	}
	var page apigpu.JobPage
	err := c.ask(ctx, call{method: http.MethodGet, path: []string{"jobs"}, query: query}, &page)
	return page, err
}

// Cancel asks for the end of a job and returns it as it is then. A job that
// has ended is Conflict.
func (c *Client) Cancel(ctx context.Context, id string) (apigpu.Job, error) {
	var job apigpu.Job
	err := c.ask(ctx, call{method: http.MethodPost, path: []string{"jobs", id, "cancel"}}, &job)
	return job, err
}

// Delete forgets a job and its files. One that has not ended is canceled
// first, and is Conflict until its end.
func (c *Client) Delete(ctx context.Context, id string) error {
	return c.ask(ctx, call{method: http.MethodDelete, path: []string{"jobs", id}}, nil)
}
