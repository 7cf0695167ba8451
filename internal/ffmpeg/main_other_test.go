//go:build !linux

package ffmpeg

func deathSignal() int32 { return 0 }
