package worker

import (
	"log/slog"
	"strings"
)

// logWriter takes FFmpeg's complaints to the log, a line each.
type logWriter struct{ log *slog.Logger }

func (l logWriter) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		if line = strings.TrimSpace(line); line != "" {
			l.log.Info("ffmpeg", "line", line)
		}
	}
	return len(p), nil
}
