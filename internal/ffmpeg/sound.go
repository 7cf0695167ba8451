package ffmpeg

import (
	"fmt"

	apigpu "github.com/api-gpu/api-gpu"
)

// sound returns the options of the audio track that comes out as number i.
func sound(i int, track Audio, choice apigpu.AudioChoice) []string {
	if Copied(track, choice) {
		return []string{fmt.Sprintf("-c:a:%d", i), "copy"}
	}
	args := []string{fmt.Sprintf("-c:a:%d", i), "aac"}
	channels := channelsOf(track)
	if channels != track.Channels {
		args = append(args, fmt.Sprintf("-ac:a:%d", i), "2")
	}
	return append(args,
		fmt.Sprintf("-b:a:%d", i), fmt.Sprintf("%dk", aacRate(channels)/1000),
		// Fills gaps with silence and cuts overlaps, so that sound stays
		// with the picture where the source's timestamps jump.
		fmt.Sprintf("-filter:a:%d", i), "aresample=async=1")
}

// channelsOf returns how many channels a track has as AAC: mono, stereo, 5.1
// and 7.1 are the layouts that AAC names.
func channelsOf(track Audio) int {
	switch track.Channels {
	case 1, 2, 6, 8:
		return track.Channels
	}
	return 2
}

// aacRate is the bits a second of so many channels as AAC.
func aacRate(channels int) int64 { return int64(min(96*channels, 512)) * 1000 }

// Copied reports whether the sound of a track is kept bit by bit.
//
// Unless it is asked for otherwise, that is AAC and MP3: every browser plays
// them in MP4. Everything else becomes AAC. That includes AC-3, E-AC-3, Opus,
// ALAC and FLAC, which MP4 may hold but Chrome, Firefox or Safari will not
// play; copy keeps those, too.
func Copied(track Audio, choice apigpu.AudioChoice) bool {
	switch track.Codec {
	case "aac":
		return true
	case "mp3":
		return track.SampleRate >= 16000 && choice != apigpu.AudioAAC // below, MP4 does not allow it
	case "ac3", "eac3", "opus", "flac", "alac":
		return choice == apigpu.AudioCopy
	}
	return false
}

// Silent is p without its sound, for a result that has none: what starts
// before the picture, or ends after it, is no longer there.
func (p Probe) Silent() Probe {
	p.Audio, p.AudioDropped = nil, 0
	p.Start = start(p, p.Start)
	p.Duration = duration(p, p.Duration)
	return p
}
