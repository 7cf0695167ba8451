package apigpu

// Limits of fonts that clients bring.
const (
	MaxFont     = 20 << 20 // bytes of a font file, and of all that go along with a job
	MaxJobFonts = 5        // files that go along with a job
	MaxFonts    = 50       // files that are kept for a key
)

// FontFamily is a family of fonts that captions can be drawn in.
type FontFamily struct {
	Family string `json:"family" doc:"What style.font.family is set to"`
	// Weights are those that there are; others are drawn with the nearest.
	Weights []int `json:"weights" doc:"100 to 900; 400 is regular, 700 is bold"`
	Italic  bool  `json:"italic" doc:"Whether it has slanted letters of its own"`
	// Scripts are those of which it has letters, of the ones that most
	// captions are written in.
	Scripts []string `json:"scripts" doc:"What it has letters of: Latin, Cyrillic, Greek, Arabic, Hebrew, Devanagari, Thai, Han, Kana, Hangul, Emoji"`
	// Source is built-in for those of the worker's image.
	Source string `json:"source" enum:"built-in,uploaded"`
}

// The sources of a FontFamily.
const (
	BuiltIn  = "built-in"
	Uploaded = "uploaded"
)

// FontList is the answer of GET /fonts.
type FontList struct {
	Object string       `json:"object" enum:"list"`
	Data   []FontFamily `json:"data"`
}
