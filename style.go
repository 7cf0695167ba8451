package apigpu

// Style is how captions look and move. Every member may be left out: what a
// preset says stands, and Clean is the preset where none is named.
//
// Lengths are reference pixels: the short side of the picture as displayed is
// 1080 of them, so that one style suits every resolution and shape.
type Style struct {
	Preset Preset    `json:"preset,omitempty" enum:"clean,boxed,bold_social,karaoke,word_pop,podcast,broadcast,none" doc:"A look to begin with; the other members change it" example:"bold_social"`
	Font   Font      `json:"font,omitzero"`
	Text   TextStyle `json:"text,omitzero"`
	// Color is the fill of the letters: #rgb, #rrggbb, #rrggbbaa or a name of CSS.
	Color   string  `json:"color,omitempty" doc:"Colour of the letters: #rrggbb, #rrggbbaa or a CSS name" example:"#FFFFFF"`
	Outline Outline `json:"outline,omitzero"`
	Shadow  Shadow  `json:"shadow,omitzero"`
	Box     Box     `json:"box,omitzero"`
	// Position is where the captions stand within the safe area, or a point.
	Position Position `json:"position,omitzero"`
	SafeArea SafeArea `json:"safe_area,omitzero"`
	Align    Align    `json:"align,omitempty" enum:"left,center,right" doc:"How the lines of one caption are aligned; as the position is, unless it is said"`
	// MaxLines, MaxCharsPerLine and MaxWordsPerLine bound what is shown at
	// once; a longer cue is shown in parts, one after the other.
	MaxLines        int         `json:"max_lines,omitempty" minimum:"1" maximum:"10" doc:"Lines shown at once; a longer cue is shown in parts"`
	MaxCharsPerLine int         `json:"max_chars_per_line,omitempty" minimum:"4" maximum:"200" doc:"Characters a line; 42 on wide and 22 on tall pictures unless it is said"`
	MaxWordsPerLine int         `json:"max_words_per_line,omitempty" minimum:"1" maximum:"50" doc:"Words a line"`
	Animation       Animation   `json:"animation,omitempty" enum:"none,karaoke,highlight,word,underline,pop,fade,typewriter" doc:"How words appear as they are spoken; their times are estimated where the file has none"`
	Active          Active      `json:"active,omitzero"`
	WordStyles      []WordStyle `json:"word_styles,omitempty" maxItems:"100" doc:"Words that look different"`
	Emoji           Emoji       `json:"emoji,omitempty" enum:"color,mono,strip" doc:"Emoji in colour, as outlines, or left out"`
}

// Preset is the name of a look.
type Preset string

// The presets; package typeset has their figures.
const (
	PresetClean      Preset = "clean"       // white with a black outline
	PresetBoxed      Preset = "boxed"       // white on a dark box for each line
	PresetBoldSocial Preset = "bold_social" // few big capitals, the spoken word in yellow
	PresetKaraoke    Preset = "karaoke"     // words fill as they are sung
	PresetWordPop    Preset = "word_pop"    // one word at a time, which pops up
	PresetPodcast    Preset = "podcast"     // quiet lines in a rounded block, the spoken word marked
	PresetBroadcast  Preset = "broadcast"   // as television has it: plain, boxed, small
	PresetNone       Preset = "none"        // letters without outline, shadow or box
)

// Presets lists all presets.
func Presets() []Preset {
	return []Preset{
		PresetClean, PresetBoxed, PresetBoldSocial, PresetKaraoke, PresetWordPop, PresetPodcast, PresetBroadcast, PresetNone,
	}
}

// Font is the face of the letters. A character that it lacks is drawn with
// the first font of its script that has it.
type Font struct {
	Family string `json:"family,omitempty" maxLength:"100" doc:"Family name, one of GET /fonts or of a font sent along" example:"Noto Sans"`
	// Size is the height of the em, as font-size in CSS, in reference pixels.
	Size          Length   `json:"size,omitzero"`
	Weight        int      `json:"weight,omitempty" minimum:"100" maximum:"900" doc:"100 to 900; 400 is regular, 700 is bold"`
	Italic        *bool    `json:"italic,omitempty"`
	Underline     *bool    `json:"underline,omitempty"`
	LetterSpacing *float64 `json:"letter_spacing,omitempty" minimum:"-20" maximum:"100" doc:"Reference pixels between letters"`
	LineHeight    *float64 `json:"line_height,omitempty" minimum:"0.5" maximum:"4" doc:"Distance of lines, in sizes of the font"`
}

// TextStyle changes the letters themselves.
type TextStyle struct {
	Transform Transform `json:"transform,omitempty" enum:"none,uppercase,lowercase,capitalize" doc:"Case of the letters, by the rules of language"`
}

// Transform is a change of case.
type Transform string

// The transforms.
const (
	TransformNone       Transform = "none"
	TransformUpper      Transform = "uppercase"
	TransformLower      Transform = "lowercase"
	TransformCapitalize Transform = "capitalize" // the first letter of each word
)

// Outline is the line around the letters.
type Outline struct {
	Color string   `json:"color,omitempty" doc:"Colour of the outline"`
	Width *float64 `json:"width,omitempty" minimum:"0" maximum:"40" doc:"Reference pixels; 0 is none"`
}

// Shadow is a copy of the letters behind them.
type Shadow struct {
	Color string   `json:"color,omitempty" doc:"Colour of the shadow, with alpha as its last two digits"`
	X     *float64 `json:"x,omitempty" minimum:"-100" maximum:"100" doc:"Reference pixels to the right"`
	Y     *float64 `json:"y,omitempty" minimum:"-100" maximum:"100" doc:"Reference pixels down"`
	Blur  *float64 `json:"blur,omitempty" minimum:"0" maximum:"50" doc:"Reference pixels over which its edge fades"`
}

// Box is drawn behind the text.
type Box struct {
	Color   string   `json:"color,omitempty" doc:"Colour of the box, with alpha as its last two digits" example:"#00000099"`
	Padding *float64 `json:"padding,omitempty" minimum:"0" maximum:"200" doc:"Reference pixels between text and edge"`
	Radius  *float64 `json:"radius,omitempty" minimum:"0" maximum:"200" doc:"Reference pixels of its rounded corners"`
	Mode    BoxMode  `json:"mode,omitempty" enum:"none,line,block" doc:"No box, one for each line, or one for the whole caption"`
}

// BoxMode says what a box is drawn around.
type BoxMode string

// The modes of a box.
const (
	BoxNone  BoxMode = "none"
	BoxLine  BoxMode = "line"
	BoxBlock BoxMode = "block"
)

// Align is how lines are set.
type Align string

// The alignments.
const (
	AlignLeft   Align = "left"
	AlignCenter Align = "center"
	AlignRight  Align = "right"
)

// Animation is how the words of a caption come and go.
type Animation string

// The animations.
const (
	AnimationNone       Animation = "none"
	AnimationKaraoke    Animation = "karaoke"    // words fill with Active.Color from start to end as they are spoken
	AnimationHighlight  Animation = "highlight"  // the spoken word has the look of Active
	AnimationWord       Animation = "word"       // only the spoken word is shown
	AnimationUnderline  Animation = "underline"  // the spoken word is underlined
	AnimationPop        Animation = "pop"        // words grow for a moment as they are spoken
	AnimationFade       Animation = "fade"       // captions fade in and out
	AnimationTypewriter Animation = "typewriter" // words appear one after the other, and stay
)

// Active is the look of the word that is spoken.
type Active struct {
	Color   string   `json:"color,omitempty" doc:"Colour of the spoken word" example:"#FFD400"`
	Box     string   `json:"box,omitempty" doc:"Colour of a box behind the spoken word"`
	Outline string   `json:"outline,omitempty" doc:"Colour of its outline"`
	Scale   *float64 `json:"scale,omitempty" minimum:"0.5" maximum:"2" doc:"Its size, in sizes of the others; the line keeps the room of the others"`
}

// WordStyle is the look of words wherever they stand.
type WordStyle struct {
	// Match holds words, or a phrase: letters of any case, whole words only.
	Match     string `json:"match" minLength:"1" maxLength:"100" doc:"A word or a phrase; any case, whole words only"`
	Color     string `json:"color,omitempty"`
	Bold      *bool  `json:"bold,omitempty"`
	Italic    *bool  `json:"italic,omitempty"`
	Underline *bool  `json:"underline,omitempty"`
}

// Emoji is what becomes of emoji.
type Emoji string

// What becomes of emoji.
const (
	EmojiColor Emoji = "color" // in colour, put over the picture
	EmojiMono  Emoji = "mono"  // as outlines, in the colour of the text
	EmojiStrip Emoji = "strip" // left out
)

// Overlap is what becomes of cues that are shown at the same time.
type Overlap string

// The rules for overlapping cues.
const (
	OverlapStack Overlap = "stack" // one above the other
	OverlapTrim  Overlap = "trim"  // a cue ends where the next begins
	OverlapMerge Overlap = "merge" // one cue with the text of both
)
