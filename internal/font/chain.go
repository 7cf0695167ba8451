package font

import (
	"strings"

	"github.com/go-text/typesetting/language"
)

// base are the families that captions are set in, best first. A machine
// without any of them has no fonts to speak of.
func base() []string {
	return []string{"Noto Sans", "DejaVu Sans", "Liberation Sans", "Arial"}
}

// symbols are the families for what belongs to no script.
func symbols() []string {
	return []string{"Noto Sans Symbols", "Noto Sans Symbols2", "Noto Sans Math", "Noto Music", "Symbola"}
}

// emoji are the families with outlines of emoji. Those in colour are bitmaps,
// which libass cannot draw.
func emoji() []string {
	return []string{"Noto Emoji", "Symbola", "DejaVu Sans", "Noto Sans Symbols2", "Noto Sans Symbols"}
}

// scripts are the families for one script each, best first. Scripts that are
// not here are looked for in all fonts.
func scripts() map[language.Script][]string {
	noto := func(name string) []string { return []string{"Noto Sans " + name, "Noto Serif " + name} }
	return map[language.Script][]string{
		language.Arabic:              {"Noto Sans Arabic", "Noto Naskh Arabic", "DejaVu Sans"},
		language.Hebrew:              {"Noto Sans Hebrew", "Noto Serif Hebrew", "DejaVu Sans"},
		language.Thai:                {"Noto Sans Thai", "Noto Looped Thai", "Loma"},
		language.Devanagari:          noto("Devanagari"),
		language.Bengali:             noto("Bengali"),
		language.Gurmukhi:            noto("Gurmukhi"),
		language.Gujarati:            noto("Gujarati"),
		language.Oriya:               noto("Oriya"),
		language.Tamil:               noto("Tamil"),
		language.Telugu:              noto("Telugu"),
		language.Kannada:             noto("Kannada"),
		language.Malayalam:           noto("Malayalam"),
		language.Sinhala:             noto("Sinhala"),
		language.Lao:                 noto("Lao"),
		language.Khmer:               noto("Khmer"),
		language.Myanmar:             noto("Myanmar"),
		language.Tibetan:             noto("Tibetan"),
		language.Georgian:            noto("Georgian"),
		language.Armenian:            noto("Armenian"),
		language.Ethiopic:            noto("Ethiopic"),
		language.Cherokee:            noto("Cherokee"),
		language.Mongolian:           noto("Mongolian"),
		language.Syriac:              noto("Syriac"),
		language.Thaana:              noto("Thaana"),
		language.Nko:                 {"Noto Sans NKo"},
		language.Canadian_Aboriginal: {"Noto Sans Canadian Aboriginal", "Noto Sans CanAborig"},
	}
}

// eastAsian are the families for Han characters, which look different in each
// of these languages, and for the scripts that stand among them.
func eastAsian(script language.Script, lang string) []string {
	first := "SC"
	low := strings.ToLower(lang)
	switch {
	case script == language.Hangul:
		first = "KR"
	case script == language.Hiragana, script == language.Katakana, script == language.Katakana_Or_Hiragana:
		first = "JP"
	case strings.HasPrefix(low, "ja"):
		first = "JP"
	case strings.HasPrefix(low, "ko"):
		first = "KR"
	case strings.HasPrefix(low, "zh") && strings.Contains(low, "hk"):
		first = "HK"
	case strings.HasPrefix(low, "zh") && (strings.Contains(low, "hant") || strings.Contains(low, "tw") || strings.Contains(low, "mo")),
		strings.HasPrefix(low, "yue"), script == language.Bopomofo:
		first = "TC"
	}
	list := []string{"Noto Sans CJK " + first, "Noto Sans " + first}
	for _, other := range []string{"SC", "JP", "KR", "TC"} {
		if other != first {
			list = append(list, "Noto Sans CJK "+other, "Noto Sans "+other)
		}
	}
	return append(list, "WenQuanYi Zen Hei", "Droid Sans Fallback")
}

// isEastAsian reports whether the CJK fonts are those of a character: a
// script of theirs, or one of the marks and wide forms that stand with them.
func isEastAsian(r rune, script language.Script) bool {
	switch script {
	case language.Han, language.Hiragana, language.Katakana, language.Katakana_Or_Hiragana, language.Hangul, language.Bopomofo:
		return true
	}
	return r >= 0x3000 && r <= 0x303f || r >= 0x30fb && r <= 0x30fc || r >= 0xfe30 && r <= 0xfe4f || r >= 0xff00 && r <= 0xffef
}
