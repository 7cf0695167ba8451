package font

import (
	"slices"
	"testing"

	"github.com/api-gpu/api-gpu/internal/caption"
)

func TestUse(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		texts    []string
		family   string
		coloured bool
		families []string
		missing  []rune
	}{
		"latin":           {texts: []string{"Hello, world"}, families: []string{"Noto Sans"}},
		"asked for":       {texts: []string{"Hello"}, family: "noto serif", families: []string{"Noto Serif"}},
		"unknown family":  {texts: []string{"Hello"}, family: "Nowhere", families: []string{"Noto Sans"}},
		"most first":      {texts: []string{"a مرحبا مرحبا"}, families: []string{"Noto Sans Arabic", "Noto Sans"}},
		"missing":         {texts: []string{"a\U000F1234b\uE83Ac"}, families: []string{"Noto Sans"}, missing: []rune{0xE83A, 0xF1234}},
		"emoji in colour": {texts: []string{"ok 🍕 ❤️"}, coloured: true, families: []string{"Noto Sans"}},
		"emoji":           {texts: []string{"🍕"}, families: []string{"Symbola"}},
		"nothing":         {},
	} {
		got := Image().Use(c.texts, caption.Face{Family: c.family, Weight: 700}, "", c.coloured)
		if !slices.Equal(got.Families, c.families) || !slices.Equal(got.Missing, c.missing) {
			t.Errorf("%s: %q and missing %U, want %q and %U", name, got.Families, got.Missing, c.families, c.missing)
		}
	}
}
