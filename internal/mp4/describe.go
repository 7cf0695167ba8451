package mp4

import (
	"math"
	"math/bits"
	"time"
)

// video returns the track that is the film, or nil.
func (m *movie) video() *track {
	var film *track
	for i := range m.tracks {
		t := &m.tracks[i]
		if t.handler != "vide" {
			continue
		}
		t.entry.parseVideo()
		if film == nil || better(t, film) {
			film = t
		}
	}
	return film
}

// describe turns a movie, of which video is the film or nil, into what
// callers ask for.
func describe(m movie, video *track) Info {
	info := Info{Fragmented: m.fragmented}
	for i := range m.tracks {
		t := &m.tracks[i]
		switch t.handler {
		case "vide":
			info.VideoTracks++
		case "soun":
			if info.AudioTracks++; info.AudioTracks == 1 {
				t.entry.parseAudio()
				info.AudioCodec = t.entry.codec
			}
		}
	}
	info.Claimed = span(m.duration, m.timescale)
	if video == nil {
		info.Duration = info.Claimed
		return info
	}
	info.Claimed = max(info.Claimed, span(video.duration, video.timescale))
	info.VideoCodec = video.entry.codec
	info.Frames = int64(video.samples)
	info.Width, info.Height, info.Rotation = video.shape()
	info.Duration = video.presented(m)
	info.FPS = video.fps()
	return info
}

// better reports whether a is the film rather than b: the first track that is
// not a still picture, as cameras and iTunes add them for a cover.
func better(a, b *track) bool { return still(b.entry.codec) && !still(a.entry.codec) }

func still(codec string) bool { return codec == "mjpeg" || codec == "png" }

// shape returns the size as displayed and the rotation.
func (t *track) shape() (width, height, rotation int) {
	width, height = t.entry.width, t.entry.height
	if width == 0 || height == 0 {
		width, height = t.width, t.height
	}
	// Pixels wider than high stretch the width, as players do. A ratio beyond
	// 1:16 is a mistake.
	h, v := int64(t.entry.pixelWidth), int64(t.entry.pixelHeight)
	if h > 0 && v > 0 && h <= 16*v && v <= 16*h {
		width = int((int64(width)*h + v/2) / v)
	}
	rotation = turn(t.matrix)
	if rotation%180 != 0 {
		width, height = height, width
	}
	return width, height, rotation
}

// turn returns the rotation of a matrix {a b, c d} to the nearest quarter:
// (x, y) goes to (ax+cy, bx+dy) and y points down, so b > 0 is clockwise.
func turn(m [4]int32) int {
	if m[0] == 0 && m[1] == 0 {
		return 0 // no matrix at all
	}
	quarters := math.Round(math.Atan2(float64(m[1]), float64(m[0])) / (math.Pi / 2))
	return (int(quarters)*90 + 360) % 360
}

// media returns the length of the track's media, in its timescale. The sample
// times are what a decoder goes by; mdhd is only written down beside them. But
// one wrong delta, as broken muxers write for the last sample, must not make
// hours of a clip.
func (t *track) media() uint64 {
	if t.timedSpan == 0 || t.duration > 0 && t.timedSpan/2 > t.duration {
		return t.duration
	}
	return t.timedSpan
}

// presented returns how long the track plays.
func (t *track) presented(m movie) time.Duration {
	d := span(t.media(), t.timescale)
	if m.fragmented {
		// What fragments add is in none of the tables of moov.
		d = max(d, span(m.fragments, m.timescale), t.fragments.length, span(t.fragments.end, t.timescale))
	}
	if d == 0 {
		d = span(m.duration, m.timescale)
	}
	// An edit list cuts; one that claims more than there is does not add.
	if edited := span(t.edited, m.timescale); edited > 0 && edited < d {
		return edited
	}
	return d
}

// fps returns the mean frame rate: samples by their summed durations; 0 where
// that is unknown.
func (t *track) fps() float64 {
	n, length := t.samples, t.media()
	if n == 0 {
		n, length = t.fragments.samples, t.fragments.span
	}
	if length == 0 || t.timescale == 0 {
		return 0
	}
	rate := float64(n) * float64(t.timescale) / float64(length)
	if rate > maxFPS {
		return 0
	}
	return rate
}

// What is longer or faster than this is garbage, and not told.
const (
	maxSpan = 1000 * time.Hour
	maxFPS  = 1000
)

// span converts units of a timescale, exactly but for the last nanosecond; 0
// for what cannot be.
func span(units uint64, timescale uint32) time.Duration {
	if timescale == 0 {
		return 0
	}
	high, low := bits.Mul64(units, uint64(time.Second))
	if high >= uint64(timescale) {
		return 0
	}
	ns, _ := bits.Div64(high, low, uint64(timescale))
	if ns > uint64(maxSpan) {
		return 0
	}
	return time.Duration(ns)
}
