package ffmpeg

import (
	"time"

	apigpu "github.com/api-gpu/api-gpu"
)

const (
	// leastRate is below what any encoder makes a picture of, in bits a
	// second.
	leastRate = 16_000
	// plenty is bits for each pixel, from which on more of them show nothing:
	// 9 Mb/s for 1080p at 30 frames a second.
	plenty = 0.15
	// spare is the share of the bytes that a first run leaves free: encoders
	// keep to a mean only roughly.
	spare = 0.04
)

// quality is what an encoder aims at where no rate is set. Where the bytes
// allow more than anybody sees, it is high.
func (s Spec) quality() apigpu.Quality {
	if s.Output.MaxSizeMB > 0 {
		return apigpu.High
	}
	return s.Output.Quality
}

// rate returns the bits a second of the picture, or 0 where quality decides.
func (s Spec) rate(p Probe) int64 {
	switch {
	case s.Rate > 0:
		return s.Rate
	case s.Output.BitrateKbps > 0:
		return int64(s.Output.BitrateKbps) * 1000
	case s.Output.MaxSizeMB > 0 && s.length(p) > 0:
		w, h := Canvas(s.Output, p)
		fps := FrameRate(s.Output.FPS).Float()
		if fps == 0 {
			fps = min(max(p.Video.AvgRate.Float(), 1), 120)
		}
		if rate := s.fitting(p, s.length(p)); float64(rate) < plenty*float64(w*h)*fps {
			return max(rate, leastRate)
		}
	}
	return 0
}

// length is how long the result will be, as far as is known: by the frames, for
// headers lie.
func (s Spec) length(p Probe) time.Duration {
	if s.Frames.End > 0 {
		return s.Frames.End
	}
	return p.Duration
}

// MaxSize is how many bytes the result may have at most; 0 is no bound.
func (s Spec) MaxSize() int64 { return int64(s.Output.MaxSizeMB * 1e6) }

// fitting returns the bits a second that are left for the picture of a result
// of this length.
func (s Spec) fitting(p Probe, length time.Duration) int64 {
	bits := float64(s.MaxSize()*8) * (1 - spare)
	return int64(bits/max(length.Seconds(), 0.04)) - s.besides(p)
}

// besides is the bits a second of all that is not the picture: the sound, and
// the index, which has some 16 bytes a frame and 8 a packet of sound.
func (s Spec) besides(p Probe) int64 {
	total := int64(16 * 8 * min(max(p.Video.AvgRate.Float(), 10), 120))
	for _, track := range p.Audio {
		rate := aacRate(channelsOf(track))
		if Copied(track, s.Output.Audio) && track.BitRate > 0 {
			rate = track.BitRate
		}
		total += rate + 8*8*50
	}
	return total
}

// checkSize refuses a bound that leaves nothing for the picture.
func (s Spec) checkSize(p Probe) error {
	if s.Output.MaxSizeMB > 0 && s.length(p) > 0 && s.fitting(p, s.length(p)) < leastRate {
		return s.tooSmall()
	}
	return nil
}

func (s Spec) tooSmall() error {
	return apigpu.E(apigpu.TooLarge, nil, "The result cannot be as small as %g MB.", s.Output.MaxSizeMB).WithField("output.max_size_mb").
		WithHint("Allow more, or ask for a lower resolution, a lower frame rate or another codec.")
}

// Shrink returns what to ask for instead after a run that made a result of too
// many bytes: size and length are those of the result. TooLarge where no rate
// would do.
func (s Spec) Shrink(p Probe, size int64, length time.Duration) (Spec, error) {
	seconds := max(length.Seconds(), 0.04)
	next, besides := s.fitting(p, length), s.besides(p)
	if had := s.rate(p); had > 0 {
		// The encoder does not keep to its mean: as much less as it was above.
		made := max(float64(size*8)/seconds-float64(besides), 1)
		next = int64(min(float64(next)*float64(had)/made, 0.9*float64(had)))
	}
	if next < leastRate {
		return s, s.tooSmall()
	}
	s.Rate = next
	return s, nil
}
