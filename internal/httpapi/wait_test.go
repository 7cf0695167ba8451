package httpapi

import (
	"math"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
)

func TestWishOf(t *testing.T) {
	t.Parallel()
	const fallback = 90 * time.Second
	ten, nan, inf, below := 10.5, math.NaN(), math.Inf(1), -0.1
	for _, c := range []struct {
		name, query string
		body        *float64
		prefer      []string
		accept      string
		want        Wish
		fault       string // the field at fault
	}{
		{"nothing said", "", nil, nil, "", Wish{Wait: fallback}, ""},
		{"query", "wait=5", nil, nil, "", Wish{Wait: 5 * time.Second}, ""},
		{"query, a fraction", "wait=0.25", nil, nil, "", Wish{Wait: 250 * time.Millisecond}, ""},
		{"query, the most", "wait=600", nil, nil, "", Wish{Wait: MaxWait * time.Second}, ""},
		{"query, too much", "wait=601", nil, nil, "", Wish{}, "wait"},
		{"query, below zero", "wait=-1", nil, nil, "", Wish{}, "wait"},
		{"query, NaN", "wait=NaN", nil, nil, "", Wish{}, "wait"},
		{"query, Inf", "wait=Inf", nil, nil, "", Wish{}, "wait"},
		{"query, words", "wait=soon", nil, nil, "", Wish{}, "wait"},
		{"query, twice: the first", "wait=5&wait=6", nil, nil, "", Wish{Wait: 5 * time.Second}, ""},
		{"query, empty", "wait=", nil, nil, "", Wish{Wait: fallback}, ""},
		{"body", "", &ten, nil, "", Wish{Wait: 10500 * time.Millisecond}, ""},
		{"body, NaN", "", &nan, nil, "", Wish{}, "wait"},
		{"body, Inf", "", &inf, nil, "", Wish{}, "wait"},
		{"body, below zero", "", &below, nil, "", Wish{}, "wait"},
		{"query over body", "wait=5", &ten, nil, "", Wish{Wait: 5 * time.Second}, ""},
		{"body over header", "", &ten, []string{"wait=7"}, "", Wish{Wait: 10500 * time.Millisecond}, ""},
		{"prefer async", "", nil, []string{"respond-async"}, "", Wish{Applied: "respond-async"}, ""},
		{"prefer async in capitals", "", nil, []string{"Respond-Async"}, "", Wish{Applied: "respond-async"}, ""},
		{"prefer wait", "", nil, []string{"wait=7"}, "", Wish{Wait: 7 * time.Second, Applied: "wait=7"}, ""},
		{"prefer wait, quoted, blanks, a parameter", "", nil, []string{` wait = "7" ; x=y`}, "", Wish{Wait: 7 * time.Second, Applied: "wait=7"}, ""},
		{"prefer both, any order", "", nil, []string{"wait=7, respond-async"}, "", Wish{Wait: 7 * time.Second, Applied: "wait=7"}, ""},
		{"prefer both, other order, two headers", "", nil, []string{"respond-async", "wait=7"}, "", Wish{Wait: 7 * time.Second, Applied: "wait=7"}, ""},
		{"prefer two waits: the first", "", nil, []string{"wait=7, wait=8"}, "", Wish{Wait: 7 * time.Second, Applied: "wait=7"}, ""},
		{"prefer a long wait: cut", "", nil, []string{"wait=9999"}, "", Wish{Wait: MaxWait * time.Second, Applied: "wait=600"}, ""},
		{"prefer a wait beyond all numbers: cut", "", nil, []string{"wait=99999999999999999999"}, "", Wish{Wait: MaxWait * time.Second, Applied: "wait=600"}, ""},
		{"prefer nonsense: ignored", "", nil, []string{"wait=-1, wait=x, wait, return=minimal, ,"}, "", Wish{Wait: fallback}, ""},
		{"follow", "follow=true", nil, nil, "", Wish{Wait: fallback, Follow: true}, ""},
		{"follow off", "follow=0", nil, nil, "", Wish{Wait: fallback}, ""},
		{"follow what", "follow=yes%20please", nil, nil, "", Wish{}, "follow"},
		{"accept the video", "", nil, nil, "video/mp4", Wish{Wait: fallback, Bytes: true}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest("POST", "/video/caption?"+c.query, nil)
			r.Header["Prefer"] = c.prefer
			r.Header.Set("Accept", c.accept)
			got, err := wishOf(r, c.body, fallback)
			if c.fault != "" {
				if e := apigpu.AsError(err); e == nil || e.Code != apigpu.InvalidRequest || e.Field != c.fault {
					t.Fatalf("error %v, want a fault of %s", err, c.fault)
				}
				return
			}
			if err != nil || got != c.want {
				t.Errorf("wish %+v, error %v, want %+v", got, err, c.want)
			}
		})
	}
}

func TestWantsVideo(t *testing.T) {
	t.Parallel()
	for accept, want := range map[string]bool{
		"":                                  false,
		"*/*":                               false,
		"application/json":                  false,
		"video/mp4":                         true,
		"VIDEO/MP4":                         true,
		"video/*":                           true,
		"video/mp4;q=0":                     false,
		"video/mp4, application/json;q=0.9": true,
		"video/mp4;q=0.8, application/json": false,
		"video/mp4, application/json":       true,
		"video/mp4, */*":                    true,
		"video/webm":                        false,
		"video/mp4;q=7":                     true, // malformed: as if it were not there
		"video/mp4;codecs=avc1; q=0.5, application/json; q=0.6": false,
		"text/html,application/xhtml+xml,*/*;q=0.8":             false, // a browser
	} {
		if got := wantsVideo([]string{accept}); got != want {
			t.Errorf("wantsVideo(%q) = %v", accept, got)
		}
	}
}
