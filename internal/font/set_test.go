package font

import (
	"testing"
	"time"

	"github.com/api-gpu/api-gpu/internal/caption"
)

func TestTry(t *testing.T) {
	b := time.Now()
	s, err := Find(SystemDirs())
	if err != nil {
		t.Fatal(err)
	}
	t.Log("find", time.Since(b), len(s.faces), s.Base())
	for _, c := range []struct {
		text, lang string
		rtl        bool
	}{{"Hello", "", false}, {"مرحبا", "ar", true}, {"हिन्दी", "", false}, {"สวัสดี", "", false}, {"日本語テスト", "ja", false}, {"中文", "", false}, {"한국어", "", false}, {"I ♥ NY 😀👩‍👩‍👧 ❤️ ⭐", "", false}, {"\ue83a", "", false}, {"தமிழ்", "", false}} {
		b := time.Now()
		r := s.Runs(c.text, caption.Face{Family: "Noto Sans", Weight: 800}, c.lang, c.rtl)
		t.Logf("%s %v %+v", c.text, time.Since(b), r)
	}
	b = time.Now()
	for range 1000 {
		clear(s.runs)
		s.Runs("Hello", caption.Face{Family: "Noto Sans", Weight: 800}, "", false)
	}
	t.Log(time.Since(b) / 1000)
}
