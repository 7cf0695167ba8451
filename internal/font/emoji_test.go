package font

import (
	"testing"

	"github.com/api-gpu/api-gpu/test/need"
)

func TestPicture(t *testing.T) {
	t.Parallel()
	need.Fonts(t)
	s, err := Find(SystemDirs())
	if err != nil || !s.Coloured() {
		t.Fatalf("no emoji in colour: %v", err)
	}
	for text, want := range map[string]bool{
		"🍕": true, "❤️": true, "👩‍👩‍👧": true, "🇧🇷": true, "👍🏽": true, "1️⃣": true, "🏴󠁧󠁢󠁥󠁮󠁧󠁿": true,
		"x": false, "": false, "🍕🍕": false,
	} {
		if m := s.Picture(text); (m != nil) != want {
			t.Errorf("%q: %v, want %v", text, m != nil, want)
		}
	}
}
