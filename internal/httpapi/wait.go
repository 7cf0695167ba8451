package httpapi

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/api-gpu/api-gpu"
)

// MaxWait bounds how long one request may wait, in seconds.
const MaxWait = 600

// followWait is the wait of each hop of a followed request: under the 100 s
// at which Cloudflare cuts a silent connection.
const followWait = 90

// Wish is how a client wants its answer.
type Wish struct {
	// Wait is how long the request may wait for its job.
	Wait time.Duration
	// Follow answers a passed wait with a redirect to the next wait.
	Follow bool
	// Bytes asks for the video itself and not for words about it.
	Bytes bool
	// Applied is the preference that decided (RFC 7240), to be echoed.
	Applied string
}

// wishOf reads how the client wants its answer. The body's wait and the query
// parameter win over the header, and the header over the default.
func wishOf(r *http.Request, bodyWait *float64, fallback time.Duration) (Wish, error) {
	wish := Wish{Wait: fallback, Bytes: wantsVideo(r.Header.Values("Accept"))}
	if wait, applied, ok := preference(r.Header.Values("Prefer")); ok {
		wish.Wait, wish.Applied = wait, applied
	}
	query := r.URL.Query()
	if s := query.Get("wait"); s != "" {
		seconds, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return Wish{}, waitFault(s)
		}
		bodyWait = &seconds
	}
	if bodyWait != nil {
		if math.IsNaN(*bodyWait) || *bodyWait < 0 || *bodyWait > MaxWait {
			return Wish{}, waitFault(strconv.FormatFloat(*bodyWait, 'g', -1, 64))
		}
		wish.Wait, wish.Applied = seconds(*bodyWait), ""
	}
	switch s := query.Get("follow"); s {
	case "", "false", "0":
	case "true", "1":
		wish.Follow = true
	default:
		return Wish{}, apigpu.E(apigpu.InvalidRequest, nil, "follow must be true or false, not %q", s).WithField("follow")
	}
	return wish, nil
}

func waitFault(given string) error {
	return apigpu.E(apigpu.InvalidRequest, nil, "wait must be a number of seconds from 0 to %d, not %q", MaxWait, given).WithField("wait")
}

// preference reads Prefer: respond-async and Prefer: wait=N (RFC 7240,
// sections 4.1 and 4.3). A wait beyond MaxWait is cut to it: a preference may
// be honoured in part, and one that is not understood is ignored. The first of
// several waits counts. respond-async together with wait=N waits N seconds.
func preference(headers []string) (wait time.Duration, applied string, ok bool) {
	for p := range strings.SplitSeq(strings.Join(headers, ","), ",") {
		p, _, _ = strings.Cut(p, ";") // parameters of a preference: we know none
		name, value, _ := strings.Cut(p, "=")
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "respond-async":
			wait, applied, ok = 0, "respond-async", true
		case "wait":
			n, err := strconv.ParseUint(strings.Trim(strings.TrimSpace(value), `"`), 10, 64)
			if err == nil || errors.Is(err, strconv.ErrRange) {
				n = min(n, MaxWait)
				return time.Duration(n) * time.Second, fmt.Sprintf("wait=%d", n), true
			}
		}
	}
	return wait, applied, ok
}

// wantsVideo reports whether the client prefers the video to JSON: it names
// video/mp4 (or video/*) with a quality no lower than that of JSON.
func wantsVideo(accept []string) bool {
	var video, words float64
	for _, h := range accept {
		for part := range strings.SplitSeq(h, ",") {
			media, params, _ := strings.Cut(part, ";")
			q := quality(params)
			switch strings.ToLower(strings.TrimSpace(media)) {
			case "video/mp4", "video/*":
				video = max(video, q)
			case "application/json", "application/*", "application/problem+json":
				words = max(words, q)
			}
		}
	}
	return video > 0 && video >= words
}

// quality reads the q parameter of a media range (RFC 9110, section 12.4.2):
// 1 where it is missing or malformed.
func quality(params string) float64 {
	for p := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if strings.EqualFold(name, "q") {
			if q, err := strconv.ParseFloat(value, 64); err == nil && q >= 0 && q <= 1 {
				return q
			}
		}
	}
	return 1
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
