package server

import (
	"sync"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/httpapi"
)

// maxUploads is how many videos one key may upload at once: each holds the room
// that it says it needs until it is here. The admin's, or the only key, may
// upload any number.
const maxUploads = 8

// uploads counts the uploads that are under way, by key. The zero value is
// ready.
type uploads struct {
	mu    sync.Mutex
	byKey map[string]int
}

// begin counts one more upload of who, or refuses it. end must be called after
// an upload that was counted.
func (u *uploads) begin(who httpapi.Caller) (end func(), err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.byKey[who.Name] >= maxUploads && !who.Admin {
		e := apigpu.E(apigpu.RateLimited, nil, "The key named %s uploads %d videos already.", who.Name, maxUploads).
			WithHint("Send one after another, or name the address of the video as url_video.")
		e.RetryAfter = fullRetry
		return nil, e
	}
	if u.byKey == nil {
		u.byKey = map[string]int{}
	}
	u.byKey[who.Name]++
	return func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		if u.byKey[who.Name]--; u.byKey[who.Name] == 0 {
			delete(u.byKey, who.Name)
		}
	}, nil
}
