package main

import (
	"testing"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

func TestLimit(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]gpu.USD{"off": 0, "auto": 7, "0.1": 100_000_000, "5": 5 * gpu.Dollar, "$2": 2 * gpu.Dollar} {
		var l limit
		if err := l.UnmarshalText([]byte(text)); err != nil || l.or(7) != want {
			t.Errorf("%s: %+v, %v", text, l, err)
		}
	}
	for _, text := range []string{"0", "0.00", "-1", "none", "", "5 USD"} {
		var l limit
		if err := l.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is %+v", text, l)
		}
	}
}
