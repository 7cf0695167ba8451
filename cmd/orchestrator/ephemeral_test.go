package main

import "testing"

// Only what costs money is refused, and only in production.
func TestNoRent(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"--app-env=production", "--provider=local"},
		{"--provider=vast"},
		{"--app-env=production", "--provider=vast", "--allow-ephemeral"},
	} {
		if got := parse(t, args...).noRent(); got != "" {
			t.Errorf("%q: %s", args, got)
		}
	}
}
