package typeset

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/api-gpu/api-gpu/internal/caption"
)

// passThrough draws a script as it is styled, on the frames of the video: only
// the times of its events change, and the picture that it is laid out for.
//
// The script was made safe by its reader, which writes one Dialogue line for
// each cue; effects within an event keep the times that they have from its
// start.
func passThrough(job Job) (Sheet, error) {
	size := job.Size.orDefault()
	lines := strings.Split(strings.ReplaceAll(string(job.Script), "\r\n", "\n"), "\n")
	type event struct {
		line   int
		fields []string
		caption.Cue
	}
	var events []event
	for n, l := range lines {
		fields := strings.SplitN(l, ",", 4)
		if !strings.HasPrefix(l, "Dialogue:") || len(fields) < 4 {
			continue
		}
		start, ok1 := parseStamp(fields[1])
		end, ok2 := parseStamp(fields[2])
		if ok1 && ok2 {
			events = append(events, event{n, fields, caption.Cue{Start: start, End: end}})
		}
	}
	slices.SortStableFunc(events, func(a, b event) int { return int(min(max(a.Start-b.Start, -1), 1)) })
	cues := make([]caption.Cue, len(events))
	for i, e := range events {
		cues[i] = e.Cue
	}
	for i, c := range caption.Snap(cues, job.Clock) {
		e := &events[i]
		e.fields[1] = string(appendStamp(nil, centiseconds(c.Start)))
		e.fields[2] = string(appendStamp(nil, max(centiseconds(c.End), centiseconds(c.Start)+1)))
		lines[e.line] = strings.Join(e.fields, ",")
	}
	return Sheet{ASS: layOut(lines, size), Families: fontsOf(lines), Shown: len(job.Cues), Timing: caption.TimedCues}, nil
}

// fontsOf are the families that the styles of a script name.
func fontsOf(lines []string) (names []string) {
	for _, l := range lines {
		if fields := strings.SplitN(l, ",", 3); strings.HasPrefix(l, "Style:") && len(fields) == 3 {
			if name := fontName(strings.TrimSpace(fields[1])); name != "" && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// layOut writes the lines of a script with the shape of the picture that it is
// drawn on, so that its letters are not stretched where its own is another.
func layOut(lines []string, size Size) []byte {
	var out bytes.Buffer
	written := false
	for n, l := range lines {
		low := strings.ToLower(l)
		if strings.HasPrefix(low, "layoutresx:") || strings.HasPrefix(low, "layoutresy:") {
			continue
		}
		out.WriteString(l)
		if n < len(lines)-1 {
			out.WriteByte('\n')
		}
		if !written && strings.TrimSpace(low) == "[script info]" {
			fmt.Fprintf(&out, "LayoutResX: %d\nLayoutResY: %d\n", size.Width, size.Height)
			written = true
		}
	}
	return out.Bytes()
}

// parseStamp reads H:MM:SS.cc.
func parseStamp(s string) (time.Duration, bool) {
	fields := strings.Split(strings.TrimSpace(s), ":")
	if len(fields) != 3 {
		return 0, false
	}
	h, err1 := strconv.Atoi(fields[0])
	m, err2 := strconv.Atoi(fields[1])
	sec, err3 := strconv.ParseFloat(fields[2], 64)
	if err1 != nil || err2 != nil || err3 != nil || h < 0 || h > 1e5 || m < 0 || m > 59 || !(sec >= 0 && sec < 61) {
		return 0, false
	}
	return time.Duration(h)*time.Hour + time.Duration(m)*time.Minute + time.Duration(math.Round(sec*1000))*time.Millisecond, true
}
