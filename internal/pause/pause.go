// Package pause waits for a time to pass, but no longer than anybody wants it
// to. Standard library only.
package pause

import (
	"context"
	"time"
)

// For waits for d, and reports whether all of it passed and whoever asked still
// wants to go on: false where ctx ended, before or meanwhile.
func For(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
