package subtitle

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	apigpu "github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/caption"
)

// moment is a time: a number, or a text that holds one or a time code. The
// unit is that of the shape; a time code is always hours, minutes, seconds.
type moment struct {
	value   float64
	seconds bool // value is in seconds, whatever the unit of the shape
}

// UnmarshalJSON reads a number, a text, or null.
func (m *moment) UnmarshalJSON(b []byte) error {
	if len(b) == 0 || b[0] != '"' {
		if err := json.Unmarshal(b, &m.value); err != nil {
			return badTime(string(b))
		}
		return nil
	}
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	s = strings.TrimSuffix(strings.TrimSpace(s), "s")
	if v, err := strconv.ParseFloat(s, 64); err == nil && !math.IsNaN(v) {
		m.value = v
		return nil
	}
	fields, fraction, _ := strings.Cut(strings.ReplaceAll(s, ",", "."), ".")
	if !strings.Contains(fields, ":") || !isDigits(strings.ReplaceAll(fields, ":", "")) || !isDigits(fraction) {
		return badTime(s)
	}
	t, ok := parseStamp(fields, ".", fraction)
	if !ok {
		return badTime(s)
	}
	m.value, m.seconds = t.Seconds(), true
	return nil
}

func badTime(s string) error {
	return apigpu.E(apigpu.SubtitleUnparseable, nil, "%q is no time of a caption.", excerpt(s)).
		WithHint("Times are seconds, such as 1.5.")
}

func isDigits(s string) bool {
	return strings.Trim(s, "0123456789") == ""
}

// maxMoment bounds the times that are read, in seconds: 999 hours.
const maxMoment = 999 * 3600

// in returns the time, where it can be one.
func (m *moment) in(unit time.Duration) (time.Duration, bool) {
	if m == nil {
		return 0, false
	}
	if m.seconds {
		unit = time.Second
	}
	seconds := m.value * unit.Seconds()
	if !(math.Abs(seconds) <= maxMoment) {
		return 0, false
	}
	return time.Duration(math.Round(seconds*1e6)) * time.Microsecond, true
}

// anyText is a text; a number is taken for one.
type anyText string

// UnmarshalJSON reads a text, a number, or null.
func (t *anyText) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, (*string)(t))
	}
	var n json.Number
	if err := json.Unmarshal(b, &n); err != nil {
		return apigpu.E(apigpu.SubtitleUnparseable, nil, "%q stands where a text is expected.", excerpt(string(b)))
	}
	*t = anyText(n)
	return nil
}

func label(t *anyText) string {
	if t == nil {
		return ""
	}
	return speaker(string(*t))
}

// said is the text of a word or a caption.
func (h heard) said() string {
	for _, t := range []*anyText{h.Punctuated, h.Word, h.Text, h.Transcript} {
		if t != nil {
			return string(*t)
		}
	}
	return ""
}

// times returns when it is said; ok is false where that cannot be read.
func (h heard) times(unit time.Duration) (start, end time.Duration, ok bool) {
	from, to := h.Start, h.End
	if h.StartMS != nil {
		from, to, unit = h.StartMS, h.EndMS, time.Millisecond
	}
	start, ok1 := from.in(unit)
	end, ok2 := to.in(unit)
	return start, end, ok1 && ok2
}

// mostlyWords reports whether the texts of a list are single words, most of
// them.
func mostlyWords(list []heard) bool {
	n := 0
	for _, h := range list {
		if len(strings.Fields(h.said())) <= 1 && utf8.RuneCountInString(h.said()) <= 30 {
			n++
		}
	}
	return n*10 >= len(list)*9
}

func wholeNumbers(list []heard) bool {
	for _, h := range list {
		for _, m := range []*moment{h.Start, h.End} {
			if m != nil && (m.seconds || m.value != math.Trunc(m.value)) {
				return false
			}
		}
	}
	return true
}

// looksLikeMilliseconds reports whether words that are timed in seconds would
// last for a minute each.
func looksLikeMilliseconds(list []heard) bool {
	var total time.Duration
	n := 0
	for _, h := range list {
		start, end, ok := h.times(time.Second)
		if h.Start != nil && h.End != nil && !ok {
			return wholeNumbers(list)
		}
		if ok {
			total += end - start
			n++
		}
	}
	return n > 0 && wholeNumbers(list) && total/time.Duration(n) > time.Minute
}

// token is a word with its times.
type token struct {
	text       string
	start, end time.Duration
	// glued: no space parts it from the token before.
	glued   bool
	speaker string
}

// tokens cleans a list of words. Those without a time get the one between
// their neighbours; those that are out of order are moved. Both are counted.
func (r *reading) tokens(list []heard, unit time.Duration) []token {
	// ElevenLabs lists the spaces, too.
	list = slices.DeleteFunc(slices.Clone(list), func(h heard) bool { return h.Type != nil && *h.Type == "spacing" })
	spaced := false
	for _, h := range list[min(1, len(list)):] {
		spaced = spaced || strings.HasPrefix(h.said(), " ")
	}
	var out []token
	var timeless []int
	for _, h := range list {
		said := h.said()
		text := strings.Join(strings.Fields(cleaned(said)), " ")
		if !strings.ContainsFunc(text, isVisible) {
			continue
		}
		t := token{text: text, speaker: label(h.Speaker)}
		if n := len(out); n > 0 {
			if t.speaker == "" {
				t.speaker = out[n-1].speaker
			}
			if spaced {
				t.glued = !strings.HasPrefix(said, " ") && !strings.HasSuffix(out[n-1].text, " ")
			} else {
				t.glued = gluedTo(out[n-1].text, text)
			}
		}
		var ok bool
		if t.start, t.end, ok = h.times(unit); !ok || t.end < t.start {
			timeless = append(timeless, len(out))
			r.notes.Add(caption.WordsMended, 0)
		}
		out = append(out, t)
	}
	fillTimes(out, timeless)
	for i := 1; i < len(out); i++ {
		if before := &out[i-1]; out[i].start < before.end {
			if out[i].start < before.start {
				r.notes.Add(caption.WordsMended, 0)
				out[i].start = before.end
				out[i].end = max(out[i].end, out[i].start)
			} else {
				before.end = out[i].start // an overlap of a moment is how recognisers measure
			}
		}
	}
	return out
}

// fillTimes gives words without a time the time between their neighbours.
func fillTimes(tokens []token, timeless []int) {
	for n := 0; n < len(timeless); {
		first := timeless[n]
		last := first
		for n++; n < len(timeless) && timeless[n] == last+1; n++ {
			last++
		}
		var from, to time.Duration
		if first > 0 {
			from = tokens[first-1].end
		}
		const guess = 300 * time.Millisecond
		if to = from + time.Duration(last-first+1)*guess; last+1 < len(tokens) {
			to = max(tokens[last+1].start, from)
			if first == 0 {
				from = max(to-time.Duration(last-first+1)*guess, 0)
			}
		}
		step := (to - from) / time.Duration(last-first+1)
		for i := first; i <= last; i++ {
			tokens[i].start = from + time.Duration(i-first)*step
			tokens[i].end = tokens[i].start + step
		}
	}
}

func cleaned(s string) string {
	var b strings.Builder
	for _, r := range norm.NFC.String(strings.ToValidUTF8(s, "\uFFFD")) {
		if r, ok := caption.Clean(r); ok {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// gluedTo reports whether no space belongs between two words: they are of a
// script without spaces, or the second is only punctuation.
func gluedTo(before, word string) bool {
	if strings.Trim(word, ".,!?;:…)]}»”%") == "" {
		return true
	}
	last, _ := utf8.DecodeLastRuneInString(before)
	first, _ := utf8.DecodeRuneInString(word)
	return noSpaceBetween(last) && noSpaceBetween(first)
}

func noSpaceBetween(r rune) bool {
	return r >= 0x0E00 && (unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar) ||
		r >= 0x3000 && r <= 0x303F || r >= 0xFF00 && r <= 0xFF65)
}
