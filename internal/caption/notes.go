package caption

import apigpu "github.com/api-gpu/api-gpu"

// notes collects what was mended and dropped on the way. The zero value is
// ready to use.
type notes struct {
	list []apigpu.Warning
}

// say adds a warning that is not counted.
func (n *notes) say(code, message string) {
	n.list = append(n.list, apigpu.Warning{Code: code, Message: message})
}

// count adds k to the warning of this code. A k of 0 changes nothing.
func (n *notes) count(code string, k int) {
	if k == 0 {
		return
	}
	for i := range n.list {
		if n.list[i].Code == code {
			n.list[i].Count += k
			return
		}
	}
	n.list = append(n.list, apigpu.Warning{Code: code, Message: explain(code), Count: k})
}

// warnings returns what was collected, in the order of first sight.
func (n *notes) warnings() []apigpu.Warning { return n.list }

// explain is the sentence of a counted warning.
func explain(code string) string {
	switch code {
	case WarnReplacement:
		return "Characters that an earlier conversion had already lost are shown as a replacement sign."
	case WarnPreamble:
		return "Lines before the first cue were ignored."
	case WarnNoTime:
		return "Cues without a readable time were left out."
	case WarnNoText:
		return "Cues without text were left out."
	case WarnBeforeZero:
		return "Cues that end before the video begins were left out."
	case WarnPastEnd:
		return "Cues that begin after the end of the video were left out."
	case WarnNegative:
		return "Cues that start before zero now start at zero."
	case WarnReversed:
		return "Cues that end before they start were mended."
	case WarnZeroLength:
		return "Cues without a duration were given one."
	case WarnUnsorted:
		return "Cues out of order were sorted by time."
	}
	return code
}
