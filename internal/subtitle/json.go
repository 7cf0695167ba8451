package subtitle

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	apigpu "github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/caption"
)

// The shapes of JSON that are read, told by their members. Each says which
// unit its times have; no unit is guessed without a note.
//
//	[{start, end, text, words?, style?}], or {captions: [...]}    seconds: ours
//	[{word | text, start, end}], or {words: [...]}                seconds
//	{segments: [{start, end, text, words?}], words?}              seconds: Whisper, verbose_json
//	{transcription: [{offsets: {from, to}, text}]}                milliseconds: whisper.cpp
//	[{text, startMs, endMs}]                                      milliseconds: Remotion
//	{results: {utterances | channels: [{alternatives: [...]}]}}   seconds: Deepgram
//	{words | utterances: [...], audio_duration, ...}              milliseconds: AssemblyAI
//	{words: [{text, start, end, type}]}                           seconds: ElevenLabs
const shapesHint = "Send captions as [{\"start\": 1.0, \"end\": 2.5, \"text\": \"...\"}] in seconds, or words as Whisper (verbose_json), " +
	"Deepgram, AssemblyAI or Remotion have them."

// isJSON reports whether a text is a list or an object.
func isJSON(text string) bool {
	text = jsonText(text)
	return text != "" && (text[0] == '{' || text[0] == '[') && json.Valid([]byte(text))
}

// jsonText takes away what chat programs put around JSON.
func jsonText(text string) string {
	text = strings.Trim(text, " \t\r\n\uFEFF")
	if inner, ok := strings.CutPrefix(text, fence); ok && strings.HasSuffix(inner, fence) {
		inner = strings.TrimSuffix(inner, fence)
		if at := strings.IndexAny(inner, "[{"); at >= 0 && at < 16 {
			return strings.TrimSpace(inner[at:])
		}
	}
	return text
}

// heard is a word, a caption, a segment or an utterance, of any shape.
type heard struct {
	Word       *anyText        `json:"word"`
	Text       *anyText        `json:"text"`
	Punctuated *anyText        `json:"punctuated_word"`
	Transcript *anyText        `json:"transcript"`
	Start      *moment         `json:"start"`
	End        *moment         `json:"end"`
	StartMS    *moment         `json:"startMs"`
	EndMS      *moment         `json:"endMs"`
	Confidence json.RawMessage `json:"confidence"`
	Speaker    *anyText        `json:"speaker"`
	Type       *anyText        `json:"type"`
	Words      []heard         `json:"words"`
	Style      json.RawMessage `json:"style"`
	Offsets    *struct {
		From *moment `json:"from"`
		To   *moment `json:"to"`
	} `json:"offsets"`
}

// transcript is an object of any of the shapes.
type transcript struct {
	Captions      []heard           `json:"captions"`
	Words         []heard           `json:"words"`
	Segments      []heard           `json:"segments"`
	Utterances    []heard           `json:"utterances"`
	Transcription []heard           `json:"transcription"`
	Results       *deepgram         `json:"results"`
	AudioURL      json.RawMessage   `json:"audio_url"`
	AudioDuration json.RawMessage   `json:"audio_duration"`
	AcousticModel json.RawMessage   `json:"acoustic_model"`
	SpeechModel   json.RawMessage   `json:"speech_model"`
	Status        json.RawMessage   `json:"status"`
	Chunks        []json.RawMessage `json:"chunks"`
}

// deepgram is what the API of that name calls results.
type deepgram struct {
	Utterances []heard `json:"utterances"`
	Channels   []struct {
		Alternatives []heard `json:"alternatives"`
	} `json:"channels"`
}

// maxObjects bounds the braces of a file: each object is read into some 160
// bytes, and "{}," is three of the file. Words of a recogniser have 25 and more.
const maxObjects = 300_000

// readJSON reads a text that isJSON.
func (r *reading) readJSON(text string) ([]caption.Cue, error) {
	if strings.Count(text, "{") > maxObjects {
		return nil, apigpu.E(apigpu.TooLarge, nil, "The JSON has more than %d objects.", maxObjects)
	}
	raw := []byte(jsonText(text))
	if len(raw) < len(strings.TrimSpace(text)) {
		r.notes.Say(caption.Unwrapped, "")
	}
	var cues []caption.Cue
	var err error
	if raw[0] == '[' {
		var list []heard
		if err := json.Unmarshal(raw, &list); err != nil {
			return nil, badJSON(err, text)
		}
		cues, err = r.readList(list, text)
	} else {
		var t transcript
		if err := json.Unmarshal(raw, &t); err != nil {
			return nil, badJSON(err, text)
		}
		cues, err = r.readTranscript(t, text)
	}
	if err != nil {
		return nil, err
	}
	if r.cuesIn > r.limits.Cues {
		return nil, r.tooManyCues()
	}
	return mend(cues, &r.notes), nil
}

func badJSON(err error, text string) error {
	var e *apigpu.Error
	if errors.As(err, &e) {
		return e
	}
	return notText("JSON of another shape", text).WithHint(shapesHint)
}

// readList reads a list without a name: its first member says what it is.
func (r *reading) readList(list []heard, text string) ([]caption.Cue, error) {
	if len(list) == 0 {
		return nil, apigpu.E(apigpu.SubtitleEmpty, nil, "The list of captions is empty.")
	}
	switch first := list[0]; {
	case first.StartMS != nil:
		return r.readMilliseconds(list)
	case first.Word != nil || first.Punctuated != nil:
		return r.readWords(list, time.Second)
	case first.Start == nil || first.Text == nil && first.Transcript == nil:
		return nil, notText("JSON of another shape", text).WithHint(shapesHint)
	case first.Confidence != nil && len(first.Words) == 0 && mostlyWords(list) && wholeNumbers(list):
		// AssemblyAI's list of words, cut out of its answer.
		r.notes.Say(caption.Milliseconds, "")
		return r.readWords(list, time.Millisecond)
	case mostlyWords(list) && len(first.Words) == 0 && len(list) > 1:
		return r.readWords(list, time.Second)
	}
	return r.readCaptions(list, time.Second, nil)
}

// readTranscript reads an object.
func (r *reading) readTranscript(t transcript, text string) ([]caption.Cue, error) {
	unit := time.Second
	if t.AudioDuration != nil || t.AudioURL != nil || t.AcousticModel != nil || t.SpeechModel != nil || t.Status != nil {
		unit = time.Millisecond // AssemblyAI
	}
	switch {
	case t.Results != nil && len(t.Results.Utterances) > 0:
		return r.readUtterances(t.Results.Utterances, time.Second)
	case t.Results != nil:
		return r.readChannels(*t.Results, text)
	case len(t.Captions) > 0:
		return r.readList(t.Captions, text)
	case len(t.Segments) > 0:
		return r.readCaptions(t.Segments, time.Second, t.Words)
	case len(t.Transcription) > 0:
		for i, h := range t.Transcription {
			if h.Offsets != nil {
				t.Transcription[i].StartMS, t.Transcription[i].EndMS = h.Offsets.From, h.Offsets.To
			}
		}
		return r.readCaptions(t.Transcription, time.Second, nil)
	case len(t.Utterances) > 0:
		return r.readUtterances(t.Utterances, unit)
	case len(t.Words) > 0 && t.Words[0].StartMS != nil:
		return r.readMilliseconds(t.Words)
	case len(t.Words) > 0:
		return r.readWords(t.Words, unit)
	}
	return nil, notText("JSON", text).WithHint(shapesHint)
}

// readMilliseconds reads Remotion's captions: words, where each is one, with
// the spaces that stand before them.
func (r *reading) readMilliseconds(list []heard) ([]caption.Cue, error) {
	if mostlyWords(list) && len(list) > 1 {
		return r.readWords(list, time.Second)
	}
	return r.readCaptions(list, time.Second, nil)
}

// readChannels reads Deepgram's answer without utterances.
func (r *reading) readChannels(d deepgram, text string) ([]caption.Cue, error) {
	var cues []caption.Cue
	for _, c := range d.Channels {
		if len(c.Alternatives) == 0 || len(c.Alternatives[0].Words) == 0 {
			continue
		}
		some, err := r.readWords(c.Alternatives[0].Words, time.Second)
		if err != nil {
			return nil, err
		}
		cues = append(cues, some...)
	}
	if len(cues) == 0 {
		return nil, notText("JSON without words", text).WithHint(shapesHint)
	}
	return cues, nil
}

// readUtterances reads what one person says without a break, as captions of
// its words where it has some.
func (r *reading) readUtterances(list []heard, unit time.Duration) ([]caption.Cue, error) {
	var cues []caption.Cue
	for _, u := range list {
		some, err := r.readCaptions([]heard{u}, unit, nil)
		if err != nil {
			return nil, err
		}
		cues = append(cues, some...)
	}
	return cues, nil
}

// readWords makes captions of words.
func (r *reading) readWords(list []heard, unit time.Duration) ([]caption.Cue, error) {
	if unit == time.Second && list[0].StartMS == nil && looksLikeMilliseconds(list) {
		return nil, apigpu.E(apigpu.SubtitleUnparseable, nil,
			"The times of the words look like milliseconds, and are read as seconds.").
			WithHint("Divide start and end by 1000, or name them startMs and endMs.")
	}
	tokens := r.tokens(list, unit)
	var cues []caption.Cue
	for _, g := range group(tokens) {
		r.cuesIn++
		c := cueOf(g)
		if utf8.RuneCountInString(c.Text) > r.limits.CueText {
			return nil, r.itemTooLong()
		}
		cues = append(cues, c)
	}
	return cues, nil
}

func (r *reading) itemTooLong() error {
	return apigpu.E(apigpu.TooLarge, nil, "A caption is longer than %d characters.", r.limits.CueText)
}

// readCaptions reads a list of captions, each with its text. spoken are words
// of all of them, or nil.
func (r *reading) readCaptions(list []heard, unit time.Duration, spoken []heard) ([]caption.Cue, error) {
	var cues []caption.Cue
	for i, h := range list {
		start, end, ok := h.times(unit)
		if !ok {
			r.cuesIn++
			r.notes.Add(caption.NoTime, 0)
			continue
		}
		text := h.said()
		if len(text) > rawShare*r.limits.CueText {
			return nil, r.itemTooLong()
		}
		words := h.Words
		if len(words) == 0 && len(spoken) > 0 {
			last := i == len(list)-1
			n := 0
			for n < len(spoken) {
				if s, _, ok := spoken[n].times(unit); ok && s >= end && !last {
					break
				}
				n++
			}
			words, spoken = spoken[:n], spoken[n:]
		}
		tokens := r.tokens(words, unit)
		c := r.readMarkup(text, start, end)
		if len(tokens) > 1 && (end-start > longestGroup || utf8.RuneCountInString(c.Text) > groupChars) && sameText(c.Text, tokens) {
			for _, g := range group(tokens) {
				r.cuesIn++
				part := cueOf(g)
				part.Speaker = label(h.Speaker)
				cues = append(cues, part)
			}
			continue
		}
		r.cuesIn++
		if c.Text == "" {
			r.notes.Add(caption.NoText, 0)
			continue
		}
		if utf8.RuneCountInString(c.Text) > r.limits.CueText {
			return nil, r.itemTooLong()
		}
		c.Start, c.End = start, end
		r.giveWords(&c, tokens)
		if c.Speaker == "" {
			c.Speaker = label(h.Speaker)
		}
		r.giveStyle(&c, h.Style)
		cues = append(cues, c)
	}
	return cues, nil
}

// captionStyle is what a caption of ours may say of its look.
type captionStyle struct {
	Color     string `json:"color"`
	Bold      bool   `json:"bold"`
	Italic    bool   `json:"italic"`
	Underline bool   `json:"underline"`
	Position  string `json:"position"`
}

// giveStyle applies the style of one caption. What it cannot say is counted.
func (r *reading) giveStyle(c *caption.Cue, raw json.RawMessage) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || bytes.Equal(raw, []byte("null")) {
		return
	}
	var s captionStyle
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		r.notes.Add(caption.StyleIgnored, 0)
		return
	}
	look := caption.Look{Bold: s.Bold, Italic: s.Italic, Underline: s.Underline}
	if color, ok := apigpu.ParseColor(s.Color); ok {
		look.Color = color.Hex()
	} else if s.Color != "" {
		r.notes.Add(caption.StyleIgnored, 0)
	}
	if look != (caption.Look{}) && len(c.Spans) == 0 {
		c.Spans = []caption.Span{{From: 0, To: len(c.Text), Look: look}}
	}
	if s.Position != "" {
		keys := map[string]int{
			"bottom_left": 1, "bottom_center": 2, "bottom": 2, "bottom_right": 3, "center_left": 4, "center": 5, "center_right": 6,
			"top_left": 7, "top_center": 8, "top": 8, "top_right": 9,
		}
		if c.Align = keys[s.Position]; c.Align == 0 {
			r.notes.Add(caption.StyleIgnored, 0)
		}
	}
}
