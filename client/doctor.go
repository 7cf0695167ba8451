package client

import (
	"context"
	"net/http"
	"time"

	"github.com/api-gpu/api-gpu"
)

// examineFor is how long a server may take to examine itself, once it is its
// turn.
const examineFor = time.Minute

// Doctor lets a server examine itself: settings, account, image, database,
// storage and workers. It is the admin's.
func (c *Client) Doctor(ctx context.Context) (apigpu.Diagnosis, error) {
	var d apigpu.Diagnosis
	err := c.ask(ctx, call{method: http.MethodGet, path: []string{"doctor"}, silence: examineFor}, &d)
	return d, err
}
