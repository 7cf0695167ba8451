package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/api-gpu/api-gpu"
)

// sizeWords is a length in decimal units, as file managers show it.
func sizeWords(n int64) string {
	const units = "kMGTPE"
	if n < 1000 {
		return fmt.Sprintf("%d bytes", n)
	}
	value, unit := float64(n)/1000, 0
	for value >= 999.95 && unit < len(units)-1 { // 999.95 would be printed as 1000.0
		value /= 1000
		unit++
	}
	return fmt.Sprintf("%.1f %cB", value, units[unit])
}

// timeWords is a span: tenths below ten seconds, whole seconds below an hour.
func timeWords(d time.Duration) string {
	switch s := d.Round(time.Second); {
	case d < 9950*time.Millisecond: // above, it would be printed as 10.0
		return fmt.Sprintf("%.1f s", max(d, 0).Seconds())
	case s < time.Minute:
		return fmt.Sprintf("%d s", s/time.Second)
	case s < time.Hour:
		return fmt.Sprintf("%d min %d s", s/time.Minute, s%time.Minute/time.Second)
	default:
		return fmt.Sprintf("%d h %d min", s/time.Hour, s%time.Hour/time.Minute)
	}
}

// milliseconds is timeWords for the figures of apigpu.Stats.
func milliseconds(ms int64) string { return timeWords(time.Duration(ms) * time.Millisecond) }

// dateWords is in UTC, like everything that the server says.
func dateWords(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// phaseWords says what a job is doing.
func phaseWords(job apigpu.Job) string {
	if job.Status.Final() {
		return "Ended: " + string(job.Status)
	}
	switch job.Phase {
	case apigpu.Checking:
		return "Checking the files"
	case apigpu.WaitingGPU:
		return "Waiting for a machine"
	case apigpu.Downloading:
		return "Getting the video"
	case apigpu.Rendering:
		return "Burning in the captions"
	case apigpu.Uploading:
		return "Bringing the video home"
	}
	return "Working: " + string(job.Phase) // of a newer server
}

// jobNote is what there is to add to the phase: why it waits, how long.
func jobNote(job apigpu.Job) string {
	var notes []string
	if job.Status == apigpu.Queued && job.QueuePosition != nil {
		notes = append(notes, fmt.Sprintf("number %d in the queue", *job.QueuePosition))
	}
	if job.PhaseNote != "" {
		notes = append(notes, job.PhaseNote)
	}
	if job.ETASeconds != nil && !job.Status.Final() {
		notes = append(notes, fmt.Sprintf("about %s left", timeWords(time.Duration(*job.ETASeconds*float64(time.Second)))))
	}
	return strings.Join(notes, ", ")
}

// summary tells of a finished video, a fact a line. where is the file it was
// written to, or empty.
func summary(job apigpu.Job, where string) []string {
	if job.Video == nil {
		return nil
	}
	v := job.Video
	what := fmt.Sprintf("%s, %dx%d, %s, %s", sizeWords(v.Bytes), v.Width, v.Height, timeWords(time.Duration(v.Duration*float64(time.Second))), v.Codec)
	if v.Audio != "" {
		what += " and " + v.Audio
	}
	var lines []string
	if where != "" {
		lines = append(lines, "Saved "+where)
	}
	lines = append(lines, "Video "+what, fmt.Sprintf("Link  %s (until %s)", job.VideoURL, dateWords(job.ExpiresAt)), "Time  "+timing(job))
	if cost := costWords(job.Stats); cost != "" {
		lines = append(lines, "Cost  "+cost)
	}
	return append(lines, warningLines(job)...)
}

// costWords says what a job cost; empty where nothing is paid.
func costWords(s apigpu.Stats) string {
	switch s.CostState {
	case apigpu.CostEstimated:
		return s.CostUSD.String() + " so far, as measured by the server"
	case apigpu.CostFinal:
		return s.CostUSD.String() + ", as charged by the provider"
	}
	return ""
}

// timing says where the time went.
func timing(job apigpu.Job) string {
	s := job.Stats
	render := milliseconds(s.RenderMS) + " burning in"
	var how []string
	for _, part := range []string{s.Encoder, s.GPU} {
		if part != "" {
			how = append(how, part)
		}
	}
	if s.RealtimeFactor > 0 {
		how = append(how, fmt.Sprintf("%.1fx real time", s.RealtimeFactor))
	}
	if len(how) > 0 {
		render += " (" + strings.Join(how, ", ") + ")"
	}
	parts := []string{
		milliseconds(s.QueueMS) + " waiting", milliseconds(s.DownloadMS) + " getting the video", render,
		milliseconds(s.UploadMS) + " bringing it home",
	}
	if job.FinishedAt != nil {
		return strings.Join(parts, ", ") + "; " + timeWords(job.FinishedAt.Sub(job.CreatedAt)) + " in all"
	}
	return strings.Join(parts, ", ")
}

// warningLines tells what was mended or guessed, in the server's own words.
func warningLines(job apigpu.Job) []string {
	var lines []string
	for _, w := range job.Warnings {
		line := "Note  " + w.Message
		if w.Count > 1 {
			line += fmt.Sprintf(" (%d times)", w.Count)
		}
		lines = append(lines, line)
	}
	return lines
}
