package caption

import "strings"

// parseColor returns the colour of a font tag as "#rrggbb", or "" where it is
// none. It takes the sixteen names of HTML and the few others that subtitle
// editors write, and three, six or eight hex digits (the last two, alpha, are
// left out), with or without #.
func parseColor(s string) string {
	s = strings.ToLower(s)
	if hex := namedColor(s); hex != "" {
		return hex
	}
	s = strings.TrimPrefix(s, "#")
	if strings.Trim(s, "0123456789abcdef") != "" {
		return ""
	}
	switch len(s) {
	case 3:
		return "#" + string([]byte{s[0], s[0], s[1], s[1], s[2], s[2]})
	case 6, 8:
		return "#" + s[:6]
	}
	return ""
}

// namedColor returns the value of a colour name of CSS Color Module Level 4.
func namedColor(name string) string {
	switch name {
	case "black":
		return "#000000"
	case "silver":
		return "#c0c0c0"
	case "gray", "grey":
		return "#808080"
	case "white":
		return "#ffffff"
	case "maroon":
		return "#800000"
	case "red":
		return "#ff0000"
	case "purple":
		return "#800080"
	case "fuchsia", "magenta":
		return "#ff00ff"
	case "green":
		return "#008000"
	case "lime":
		return "#00ff00"
	case "olive":
		return "#808000"
	case "yellow":
		return "#ffff00"
	case "navy":
		return "#000080"
	case "blue":
		return "#0000ff"
	case "teal":
		return "#008080"
	case "aqua", "cyan":
		return "#00ffff"
	case "orange":
		return "#ffa500"
	case "pink":
		return "#ffc0cb"
	case "brown":
		return "#a52a2a"
	case "gold":
		return "#ffd700"
	}
	return ""
}

// assColor turns "#rrggbb" into the &HBBGGRR of ASS, or fallback where s is
// none: nothing else than six hex digits ever reaches a script.
func assColor(s, fallback string) string {
	if len(s) != 7 || s[0] != '#' || strings.Trim(strings.ToLower(s[1:]), "0123456789abcdef") != "" {
		return fallback
	}
	s = strings.ToUpper(s)
	return "&H" + s[5:7] + s[3:5] + s[1:3]
}
