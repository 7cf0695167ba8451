package apigpu

// Validation is what can be known of a request before anything is paid for:
// the answer of POST /video/caption/validate. What would be refused is refused
// here too, with the same error.
type Validation struct {
	Object   string    `json:"object" enum:"validation" doc:"Always validation"`
	Captions Captions  `json:"captions" doc:"What was read from the subtitle file, and how"`
	Warnings []Warning `json:"warnings" doc:"What was mended or guessed"`
	// Cues are the captions as they were read; nil unless they were asked for.
	Cues []CueText `json:"cues,omitempty" doc:"The captions as they were read (?cues=true)"`
	// Video is nil where the request named none.
	Video    *VideoHead `json:"video" doc:"What the head of the video tells; null where none was named"`
	Estimate *Estimate  `json:"estimate" doc:"What the job is expected to take; null where nothing is known of the video"`
}

// CueText is one caption as it was read.
type CueText struct {
	Start   float64 `json:"start" doc:"Seconds"`
	End     float64 `json:"end" doc:"Seconds"`
	Text    string  `json:"text"`
	Speaker string  `json:"speaker,omitempty"`
	Line    int     `json:"line,omitempty" doc:"Line of the subtitle file, from 1"`
}

// VideoHead is what is known of a video before it is downloaded. A member is
// absent where that is not told.
type VideoHead struct {
	// Reachable is false where this server could not read the video. A worker
	// may still reach it.
	Reachable bool `json:"reachable" doc:"Whether this server can read the video"`
	// Reason is why it could not, or why its head tells nothing.
	Reason   string  `json:"reason,omitempty" doc:"Why it could not be read, or tells nothing"`
	Bytes    int64   `json:"bytes,omitempty" doc:"Length of the file"`
	Duration float64 `json:"duration,omitempty" doc:"Seconds; MP4 and MOV only"`
	Width    int     `json:"width,omitempty" doc:"Pixels as displayed; MP4 and MOV only"`
	Height   int     `json:"height,omitempty" doc:"Pixels as displayed; MP4 and MOV only"`
	FPS      float64 `json:"fps,omitempty" doc:"Mean frames per second"`
	Codec    string  `json:"codec,omitempty" example:"h264"`
	Audio    string  `json:"audio,omitempty" example:"aac"`
}

// Estimate is what a job is expected to take.
type Estimate struct {
	// Seconds are from the request to the result, on a machine that is rented
	// for it.
	Seconds float64 `json:"seconds" doc:"From the request to the result, the boot of a machine included where one is rented"`
	// CostUSD is what it costs alone, boot included; absent where nothing is
	// rented.
	CostUSD Dollars `json:"cost_usd,omitempty" doc:"US dollars, where a machine is rented for this job alone"`
	// Basis says what it was reckoned from.
	Basis string `json:"basis" doc:"What it was reckoned from"`
}
