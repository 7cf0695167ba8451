package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// The tables have a row for each length and each number a day, at the prices
// that are asked for. That they are those of the fleet is tested there, and
// those of the defaults by test/docs_test.go.
func TestCostsCommand(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	err := run(t.Context(), []string{"costs", "--hourly=0.12", "--video=90s,12m", "--daily=50", "--server=0"}, &out, &out)
	if err != nil {
		t.Fatal(err)
	}
	tables := strings.Split(out.String(), "\n\n")
	if len(tables) != 2 {
		t.Fatalf("%q", out.String())
	}
	for _, want := range []string{"at $0.12 an hour", "\n| 1m30s | 2m |", "\n| 12m | 2m |"} {
		if !strings.Contains(tables[0], want) {
			t.Errorf("%q is missing in\n%s", want, tables[0])
		}
	}
	if !strings.Contains(tables[1], "\n| 50 | $") || strings.Count(tables[1], "\n") != 3 {
		t.Errorf("by the month:\n%s", tables[1])
	}
	for _, wrong := range []string{"--video=0s", "--video=5m,-1m", "--daily=-1"} {
		if err := run(t.Context(), []string{"costs", wrong}, &out, &out); err == nil || !strings.Contains(err.Error(), strings.SplitN(wrong, "=", 2)[0]) {
			t.Errorf("%s: %v", wrong, err)
		}
	}
	for d, want := range map[time.Duration]string{10 * time.Second: "10s", time.Minute: "1m", 10 * time.Hour: "10h", 90 * time.Minute: "1h30m", 61 * time.Second: "1m1s"} {
		if got := short(d); got != want {
			t.Errorf("%s is %q, want %q", d, got, want)
		}
	}
}
