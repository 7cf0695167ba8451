package vast

import (
	"net/http"
	"testing"
	"time"
)

// A Date has whole seconds: only what no such rounding explains is a
// difference.
func TestNoteClock(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 1, 2, 12, 0, 0, 500e6, time.UTC)
	now := began.Add(time.Second)
	for name, c := range map[string]struct {
		date  time.Time
		ahead time.Duration
	}{
		"the second in which it was asked": {began.Truncate(time.Second), 0},
		"the second of the answer":         {now.Truncate(time.Second), 0},
		"behind":                           {began.Add(-40 * time.Second).Truncate(time.Second), -39500 * time.Millisecond},
		"ahead":                            {now.Add(time.Hour).Truncate(time.Second), time.Hour - 500*time.Millisecond},
	} {
		p := &Provider{}
		if _, known := p.Clock(); known {
			t.Errorf("%s: known before any answer", name)
		}
		p.noteClock(c.date.Format(http.TimeFormat), began, now)
		p.noteClock("", began, now) // says nothing
		if ahead, known := p.Clock(); !known || ahead != c.ahead {
			t.Errorf("%s: %s %v, want %s", name, ahead, known, c.ahead)
		}
	}
}

// Each answer tells of the clock.
func TestClock(t *testing.T) {
	t.Parallel()
	s := script(t, step{status: 200, body: `{"credit": 1}`, header: http.Header{"Date": {time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)}}})
	p := open(t, s.URL)
	if _, err := p.Credit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if ahead, known := p.Clock(); !known || ahead > -59*time.Minute || ahead < -61*time.Minute {
		t.Errorf("%s %v", ahead, known)
	}
}
