package server

import (
	"time"

	"github.com/api-gpu/api-gpu"
)

// Figures of the size that is expected of a result.
const (
	// unknownResult is what is promised to a job of whose video nothing is
	// known, in bytes: a minute of a busy 1080p picture.
	unknownResult = 64 << 20
	// resultHead is what any result takes beside its pictures, in bytes.
	resultHead = 1 << 20
	// pictureRate is what a large, busy picture takes at balanced quality, in
	// bytes a second: 8 Mbit/s, as libx264 at CRF 21 writes of 1080p.
	pictureRate = 1 << 20
	// mostRate bounds the estimate where the video itself is larger than any
	// result of it would be, such as what an editor keeps: 64 Mbit/s.
	mostRate = 8 << 20
)

// growth is how much larger than its video a result of each quality may well
// be, in quarters. The encoder keeps a quality and not a size: a video that
// was encoded harder than we do grows.
var growth = map[apigpu.Quality]int64{apigpu.Draft: 4, apigpu.Balanced: 6, apigpu.High: 8, apigpu.Max: 12}

// resultRoom is how many bytes are promised to the result of a video with this
// head: from its bytes where they are known, else from its length. It is an
// estimate: the result itself reserves what it really takes.
func resultRoom(h Head, q apigpu.Quality) int64 {
	quarters := growth[q]
	if quarters == 0 {
		quarters = growth[apigpu.Balanced]
	}
	scaled := func(n int64) int64 { return n/4*quarters + resultHead }
	seconds := int64(h.Duration / time.Second)
	if h.Duration%time.Second > 0 {
		seconds++
	}
	switch {
	case h.Size > 0 && seconds > 0:
		return scaled(min(h.Size, seconds*mostRate))
	case h.Size > 0:
		return scaled(h.Size)
	case seconds > 0:
		return scaled(seconds * pictureRate)
	}
	return unknownResult
}

// fullRetry is when to ask again a server without room, in seconds: results go
// every minute.
const fullRetry = 60

// refusal adds to a refusal for want of room what to do about it.
func refusal(err error) error {
	if apigpu.CodeOf(err) != apigpu.StorageFull {
		return err
	}
	e := *apigpu.AsError(err)
	if e.RetryAfter == 0 {
		e.RetryAfter = fullRetry
	}
	if e.Hint == "" {
		e.Hint = "Send it again later. Its operator can raise STORAGE_MAX, lower DISK_FREE_MIN or RESULT_TTL, or give the volume more room."
	}
	return &e
}
