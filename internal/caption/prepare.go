package caption

import "time"

// Changes are what a request does to the captions of a file.
type Changes struct {
	Replace []Rule
	Speed   float64 // 0 is 1
	Offset  time.Duration
	Exclude []Range
	Overlap OverlapRule
	// MaxText bounds the characters of a cue that Replace changed.
	MaxText int
}

// Prepare applies changes in this order: the text is replaced, times are
// divided by the speed and moved by the offset, then come the spans of the
// video without captions, and the rule for overlaps. d is not changed. The
// notes of what was done follow those of the file.
//
// After it, CuesIn is the number of cues, plus the sum of the counts of the
// notes whose code begins with "cue_dropped", less that of SplitCue.
//
// A script that is drawn as it is styled changes along, but for overlaps:
// there they are meant, and for the speed of its effects.
func Prepare(d Document, ch Changes) (Document, error) {
	var err error
	var notes Notes
	d.Notes = d.Notes.clone()
	if d.Cues, notes, err = ReplaceText(d.Cues, ch.Replace, ch.MaxText); err != nil {
		return Document{}, err
	}
	d.Notes.Join(notes)
	d.Cues, notes = Retime(d.Cues, ch.Offset, ch.Speed)
	d.Notes.Join(notes)
	if d.Cues, notes, err = Exclude(d.Cues, ch.Exclude); err != nil {
		return Document{}, err
	}
	d.Notes.Join(notes)
	if len(d.Script) > 0 {
		d.Script, err = prepareScript(d.Script, ch)
		if ch.Overlap == Trim || ch.Overlap == Merge {
			d.Notes.Say(Unstyled, "overlap")
		}
		if ch.Speed != 0 && ch.Speed != 1 {
			d.Notes.Say(Unstyled, "the speed of effects")
		}
		return d, err
	}
	d.Cues, notes = Overlap(d.Cues, ch.Overlap)
	d.Notes.Join(notes)
	return d, nil
}

func prepareScript(script []byte, ch Changes) ([]byte, error) {
	if len(ch.Replace) > 0 {
		var err error
		if script, err = replaceInScript(script, ch.Replace); err != nil {
			return nil, err
		}
	}
	if ch.Offset == 0 && (ch.Speed == 0 || ch.Speed == 1) && len(ch.Exclude) == 0 {
		return script, nil
	}
	return editScript(script, func(cues []Cue) ([]Cue, error) {
		cues, _ = Retime(cues, ch.Offset, ch.Speed)
		cues, _, err := Exclude(cues, ch.Exclude)
		return cues, err
	})
}
