package webhook

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func TestDelay(t *testing.T) {
	t.Parallel()
	want := []time.Duration{5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour}
	for i, d := range want {
		if got, more := delay(i+1, 0); got != d || !more {
			t.Errorf("after try %d: %s, %v; want %s", i+1, got, more, d)
		}
		if got, _ := delay(i+1, 1); got != d+d/10 {
			t.Errorf("after try %d, spread: %s", i+1, got)
		}
	}
	for _, try := range []int{-1, 0, 7, 8, 1000} {
		if got, more := delay(try, 0); more || got != 0 {
			t.Errorf("after try %d: %s, %v", try, got, more)
		}
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	const (
		delivered = apigpu.WebhookDelivered
		again     = apigpu.WebhookPending
		final     = apigpu.WebhookFailed
	)
	after := func(s string) http.Header { return http.Header{"Retry-After": {s}} }
	for name, c := range map[string]struct {
		answer answer
		try    int
		status apigpu.WebhookStatus
		wait   time.Duration
		reason string
	}{
		"taken":                     {answer{status: 200}, 1, delivered, 0, ""},
		"taken later":               {answer{status: 202, header: after("9")}, 7, delivered, 0, ""},
		"no content":                {answer{status: 204}, 1, delivered, 0, ""},
		"n8n is not waiting yet":    {answer{status: 409}, 1, again, 5 * time.Second, "h answered 409."},
		"unknown path":              {answer{status: 404}, 2, again, 5 * time.Minute, "h answered 404."},
		"Make's queue is full":      {answer{status: 400}, 3, again, 30 * time.Minute, "h answered 400."},
		"forbidden":                 {answer{status: 403}, 4, again, 2 * time.Hour, "h answered 403."},
		"broken":                    {answer{status: 500}, 5, again, 5 * time.Hour, "h answered 500."},
		"a timeout of its own":      {answer{status: 408}, 6, again, 10 * time.Hour, "h answered 408."},
		"the last try":              {answer{status: 500}, 7, final, 0, "h answered 500."},
		"Make's hook is gone":       {answer{status: 410}, 1, final, 0, "h answered 410."},
		"n8n knows no such token":   {answer{status: 401, header: after("1")}, 1, final, 0, "h answered 401."},
		"a redirect":                {answer{status: 302}, 1, again, 5 * time.Second, "h answered 302: redirects are not followed."},
		"a status that is none":     {answer{status: 999}, 1, again, 5 * time.Second, "h answered 999."},
		"nobody is there":           {answer{err: apigpu.E(apigpu.SourceUnreachable, errors.New("secret"), "h refused the connection.")}, 1, again, 5 * time.Second, "h refused the connection."},
		"it is private":             {answer{err: apigpu.E(apigpu.BlockedAddress, nil, "h is private.").WithHint("Allow it.")}, 1, again, 5 * time.Second, "h is private. Allow it."},
		"nobody is there, the last": {answer{err: errors.New("secret")}, 7, final, 0, "Something went wrong on our side."},
		"asked to wait":             {answer{status: 429, header: after("120")}, 1, again, 2 * time.Minute, "h answered 429."},
		"asked to wait less":        {answer{status: 503, header: after("1")}, 2, again, 5 * time.Minute, "h answered 503."},
		"asked to wait for ever":    {answer{status: 429, header: after("99999999")}, 1, again, 10 * time.Hour, "h answered 429."},
		"asked to wait until":       {answer{status: 503, header: after(noon.Add(time.Hour).Format(http.TimeFormat))}, 1, again, time.Hour, "h answered 503."},
		"asked to wait until past":  {answer{status: 503, header: after(noon.Add(-time.Hour).Format(http.TimeFormat))}, 1, again, 5 * time.Second, "h answered 503."},
		"asked in other words":      {answer{status: 503, header: after("soon")}, 1, again, 5 * time.Second, "h answered 503."},
		"asked for less than none":  {answer{status: 503, header: after("-5")}, 1, again, 5 * time.Second, "h answered 503."},
	} {
		o := judge(c.answer, c.try, "h", noon, 0)
		want := time.Time{}
		if c.status == again {
			want = noon.Add(c.wait)
		}
		if o.Status != c.status || !o.Next.Equal(want) || o.Error != c.reason {
			t.Errorf("%s: %+v, want %s at %s: %s", name, o, c.status, want, c.reason)
		}
	}
}
