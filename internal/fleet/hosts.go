package fleet

import "time"

// HostKey names a physical machine, or the owner of several.
type HostKey struct {
	Kind string // machine, host
	ID   string
}

// Host is what is remembered of one.
type Host struct {
	Failures     float64 // decayed, as of NotedAt
	InARow       int     // failures since the last success
	Boots        int     // that came to a worker that was ready
	MeanBoot     time.Duration
	Reason       string // of the last failure
	BlockedUntil time.Time
	NotedAt      time.Time
}

// Hosts is what is remembered of all of them.
type Hosts map[HostKey]Host
