package fleet

import (
	"os"
	"testing"
	"time"
)

// crashScenarios are schedules in which a process dies at every point there is:
// before and after each commit, each call of the provider and each of a worker.
var crashScenarios = map[string][]happening{
	"one job": {{what: "submit", d: 5 * time.Second, after: 40 * time.Second, step: 2 * time.Second}},
	"answer of create lost": {
		{what: "create", n: 0}, {what: "submit", d: 5 * time.Second, after: 40 * time.Second, step: 4 * time.Second},
	},
	"request of create lost": {
		{what: "create", n: 1}, {what: "submit", after: 2 * time.Minute, step: 10 * time.Second},
	},
	"twin":    {{what: "create", n: 4}, {what: "submit", d: 5 * time.Second, after: 40 * time.Second, step: 4 * time.Second}},
	"partial": {{what: "create", n: 5}, {what: "submit", after: 30 * time.Second, step: 3 * time.Second}},
	"starts late": {
		{what: "create", n: 3}, {what: "submit", after: 100 * time.Second, step: 6 * time.Second},
	},
	"never boots": {
		{what: "create", n: 7}, {what: "submit", after: 4 * time.Minute, step: 15 * time.Second},
	},
	"offer gone": {{what: "create", n: 9}, {what: "submit", after: 30 * time.Second, step: 3 * time.Second}},
	"destroy ignored": {
		{what: "destroy", n: 5}, {what: "submit", after: 100 * time.Second, step: 5 * time.Second},
	},
	"canceled at work": {
		{what: "submit", d: time.Minute, after: 40 * time.Second, step: 5 * time.Second}, {what: "cancel", after: 40 * time.Second, step: 5 * time.Second},
	},
	"host dies at work": {
		{what: "submit", d: time.Minute, after: 40 * time.Second, step: 5 * time.Second}, {what: "host dies", n: 1, after: 40 * time.Second, step: 5 * time.Second},
	},
	"worker falls silent": {
		{what: "submit", d: time.Minute, after: 40 * time.Second, step: 5 * time.Second},
		{what: "silent", d: 5 * time.Minute, after: 2 * time.Minute, step: 10 * time.Second},
	},
	"stray and foreign": {{what: "lost"}, {what: "foreign", after: 40 * time.Second, step: 3 * time.Second}},
	"the clock is set": {
		{what: "submit", d: 20 * time.Second, after: 30 * time.Second, step: 3 * time.Second}, {what: "clock", n: 0, after: 20 * time.Second, step: 3 * time.Second},
	},
	"stopped at work": {
		{what: "submit", d: time.Minute, after: 40 * time.Second, step: 5 * time.Second}, {what: "stop", n: 4, d: 2 * time.Minute, after: 3 * time.Minute, step: 5 * time.Second},
	},
	"stopped while idle": {
		{what: "submit", after: 40 * time.Second, step: 5 * time.Second}, {what: "stop", n: 4, d: 20 * time.Second, after: time.Minute, step: 5 * time.Second},
	},
	"two processes": {
		{what: "second"}, {what: "submit", d: 20 * time.Second, after: 60 * time.Second, step: 5 * time.Second},
	},
}

// TestCrashPoints lets the first process die at each point of each scenario, and
// another follow it after some seconds, or only once the workers' leases have
// run out.
func TestCrashPoints(t *testing.T) {
	t.Parallel()
	each, points := 1, 0
	switch {
	case raced:
		each = 61
	case os.Getenv("STRICT") != "1":
		each = 97
	}
	s := newStage(t, false)
	for name, events := range crashScenarios {
		w := s.play(nothingLacks, events, nil)
		if w.broken != "" {
			t.Fatalf("%s: %s\n%s", name, w.broken, w.story)
		}
		last := w.peak
		for at := 1; at <= last; at += each {
			points++
			away := 5 * time.Second
			if at%7 == 0 {
				away = simPolicy.Lease + simPolicy.BootTimeout
			}
			w := s.play(nothingLacks, events, func(w *world) { w.procs[0].dieAt, w.away = at, away })
			if w.broken != "" {
				t.Errorf("%s, a crash at point %d of %d, away for %s: %s\n%s", name, at, last, away, w.broken, w.story)
				break
			}
		}
	}
	t.Logf("counted: %d crashes in %d scenarios", points, len(crashScenarios))
}
