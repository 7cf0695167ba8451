package typeset

import "github.com/api-gpu/api-gpu"

// The presets, as a request would write them. What one leaves open is that of
// plain.

// plain is what every style begins with.
func plain() apigpu.Style {
	return apigpu.Style{
		Font: apigpu.Font{
			Family: "Noto Sans", Size: px(54), Weight: 700,
			Italic: is(false), Underline: is(false), LetterSpacing: at(0), LineHeight: at(1.2),
		},
		Text:      apigpu.TextStyle{Transform: apigpu.TransformNone},
		Color:     "#FFFFFF",
		Outline:   apigpu.Outline{Color: "#000000", Width: at(0)},
		Shadow:    apigpu.Shadow{Color: "#00000000", X: at(0), Y: at(0), Blur: at(0)},
		Box:       apigpu.Box{Color: "#000000A6", Padding: at(14), Radius: at(10), Mode: apigpu.BoxNone},
		Position:  apigpu.Position{Name: "bottom_center"},
		SafeArea:  apigpu.SafeArea{Name: "auto"},
		MaxLines:  2,
		Animation: apigpu.AnimationNone,
		Active:    apigpu.Active{Color: "#FFD400", Scale: at(1)},
		Emoji:     apigpu.EmojiColor,
	}
}

// Preset returns what a preset says, all of it. An unknown name is clean.
func Preset(name apigpu.Preset) apigpu.Style {
	s, known := presets()[name]
	if !known {
		s = presets()[apigpu.PresetClean]
	}
	return over(plain(), s)
}

func presets() map[apigpu.Preset]apigpu.Style {
	return map[apigpu.Preset]apigpu.Style{
		apigpu.PresetClean: {
			Outline: apigpu.Outline{Color: "#000000", Width: at(4)},
			Shadow:  apigpu.Shadow{Color: "#00000080", Y: at(3), Blur: at(4)},
		},
		apigpu.PresetBoxed: {
			Font: apigpu.Font{Size: px(50), Weight: 600, LineHeight: at(1.36)},
			Box:  apigpu.Box{Color: "#000000C7", Padding: at(15), Radius: at(12), Mode: apigpu.BoxLine},
		},
		apigpu.PresetBoldSocial: {
			Font:      apigpu.Font{Size: px(92), Weight: 900, LineHeight: at(1.08)},
			Text:      apigpu.TextStyle{Transform: apigpu.TransformUpper},
			Outline:   apigpu.Outline{Color: "#000000", Width: at(9)},
			Shadow:    apigpu.Shadow{Color: "#000000B3", Y: at(6), Blur: at(8)},
			MaxLines:  2,
			Animation: apigpu.AnimationHighlight, MaxWordsPerLine: 3, MaxCharsPerLine: 18,
			Active: apigpu.Active{Color: "#FFD400", Scale: at(1.08)},
		},
		apigpu.PresetKaraoke: {
			Font:      apigpu.Font{Size: px(66), Weight: 800, LineHeight: at(1.2)},
			Outline:   apigpu.Outline{Color: "#12122B", Width: at(6)},
			Shadow:    apigpu.Shadow{Color: "#00000099", Y: at(4), Blur: at(6)},
			Animation: apigpu.AnimationKaraoke, MaxCharsPerLine: 30,
			Active: apigpu.Active{Color: "#22E0FF"},
		},
		apigpu.PresetWordPop: {
			Font:      apigpu.Font{Size: px(124), Weight: 900},
			Text:      apigpu.TextStyle{Transform: apigpu.TransformUpper},
			Outline:   apigpu.Outline{Color: "#000000", Width: at(11)},
			Shadow:    apigpu.Shadow{Color: "#000000B3", Y: at(7), Blur: at(9)},
			Position:  apigpu.Position{Name: "center"},
			MaxLines:  1,
			Animation: apigpu.AnimationPop, MaxWordsPerLine: 1, MaxCharsPerLine: 16,
			Active: apigpu.Active{Color: "#FFFFFF", Scale: at(1.12)},
		},
		apigpu.PresetPodcast: {
			Font:      apigpu.Font{Size: px(52), Weight: 600, LineHeight: at(1.34)},
			Color:     "#E9E9F2",
			Box:       apigpu.Box{Color: "#14141CE0", Padding: at(28), Radius: at(26), Mode: apigpu.BoxBlock},
			Animation: apigpu.AnimationHighlight, MaxCharsPerLine: 30,
			Active: apigpu.Active{Color: "#FFFFFF", Box: "#6D4AFF"},
		},
		apigpu.PresetBroadcast: {
			Font:     apigpu.Font{Size: px(46), Weight: 400, LineHeight: at(1.3)},
			Box:      apigpu.Box{Color: "#000000D9", Padding: at(10), Radius: at(0), Mode: apigpu.BoxLine},
			SafeArea: apigpu.SafeArea{Name: "broadcast"}, MaxCharsPerLine: 37,
		},
		apigpu.PresetNone: {},
	}
}

func px(v float64) apigpu.Length { return apigpu.Length{Pixels: v} }
func at(v float64) *float64      { return &v }
func is(v bool) *bool            { return &v }

// over returns base with what s says instead.
func over(base, s apigpu.Style) apigpu.Style {
	set(&base.Preset, s.Preset)
	overFont(&base.Font, s.Font)
	set(&base.Text.Transform, s.Text.Transform)
	set(&base.Color, s.Color)
	set(&base.Outline.Color, s.Outline.Color)
	set(&base.Outline.Width, s.Outline.Width)
	set(&base.Shadow.Color, s.Shadow.Color)
	set(&base.Shadow.X, s.Shadow.X)
	set(&base.Shadow.Y, s.Shadow.Y)
	set(&base.Shadow.Blur, s.Shadow.Blur)
	set(&base.Box.Color, s.Box.Color)
	set(&base.Box.Padding, s.Box.Padding)
	set(&base.Box.Radius, s.Box.Radius)
	set(&base.Box.Mode, s.Box.Mode)
	set(&base.Position, s.Position)
	set(&base.SafeArea, s.SafeArea)
	set(&base.Align, s.Align)
	set(&base.MaxLines, s.MaxLines)
	set(&base.MaxCharsPerLine, s.MaxCharsPerLine)
	set(&base.MaxWordsPerLine, s.MaxWordsPerLine)
	set(&base.Animation, s.Animation)
	set(&base.Active.Color, s.Active.Color)
	set(&base.Active.Box, s.Active.Box)
	set(&base.Active.Outline, s.Active.Outline)
	set(&base.Active.Scale, s.Active.Scale)
	if len(s.WordStyles) > 0 {
		base.WordStyles = s.WordStyles
	}
	set(&base.Emoji, s.Emoji)
	return base
}

func overFont(base *apigpu.Font, f apigpu.Font) {
	set(&base.Family, f.Family)
	set(&base.Size, f.Size)
	set(&base.Weight, f.Weight)
	set(&base.Italic, f.Italic)
	set(&base.Underline, f.Underline)
	set(&base.LetterSpacing, f.LetterSpacing)
	set(&base.LineHeight, f.LineHeight)
}

// set takes v where it is not zero.
func set[T comparable](to *T, v T) {
	var zero T
	if v != zero {
		*to = v
	}
}

// Resolve returns the whole style that a request asks for: its preset, and
// what it says instead. A member that needs another to be seen brings it: the
// colour of a box brings the box, that of a shadow its offset.
func Resolve(s apigpu.Style) apigpu.Style {
	p := Preset(s.Preset)
	if s.Box.Color != "" && s.Box.Mode == "" && p.Box.Mode == apigpu.BoxNone {
		s.Box.Mode = apigpu.BoxLine
	}
	if (s.Box.Padding != nil || s.Box.Radius != nil) && s.Box.Mode == "" && p.Box.Mode == apigpu.BoxNone {
		s.Box.Mode = apigpu.BoxLine
	}
	noShadow := *p.Shadow.Y == 0 && *p.Shadow.X == 0 && *p.Shadow.Blur == 0
	switch given := s.Shadow.X != nil || s.Shadow.Y != nil || s.Shadow.Blur != nil; {
	case noShadow && s.Shadow.Color != "" && !given:
		s.Shadow.Y, s.Shadow.Blur = at(4), at(4)
	case noShadow && s.Shadow.Color == "" && given:
		s.Shadow.Color = "#000000B3"
	}
	if s.Active.Box != "" && s.Active.Color == "" && p.Active.Box == "" {
		s.Active.Color = over(p, s).Color // the box marks the word; its letters stay readable
	}
	return over(p, s)
}
