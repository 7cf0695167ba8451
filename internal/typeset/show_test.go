package typeset

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/caption"
	"github.com/api-gpu/api-gpu/internal/font"
)

func TestShow(t *testing.T) {
	dir := os.Getenv("SHOW")
	if dir == "" {
		t.Skip()
	}
	fonts, err := font.Find(font.SystemDirs())
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{
		"latin": "Most people never notice this small trick, but it changes everything.",
		"ar":    "معظم الناس لا يلاحظون هذه الحيلة الصغيرة (2024) أبدًا!",
		"hi":    "ज़्यादातर लोग इस छोटी सी तरकीब पर कभी ध्यान नहीं देते।",
		"th":    "คนส่วนใหญ่ไม่เคยสังเกตเห็นเคล็ดลับเล็กๆ นี้เลย แต่มันเปลี่ยนทุกอย่าง",
		"zh":    "大多数人从来没有注意到这个小技巧，但它改变了一切。",
		"ja":    "ほとんどの人はこの小さなコツに気づいていませんが、すべてを変えます。",
		"ko":    "대부분의 사람들은 이 작은 요령을 절대 알아채지 못하지만 모든 것을 바꿉니다.",
		"emoji": "I ❤️ pizza 🍕 and 👩‍👩‍👧 families 🎉!",
	}
	pick := os.Getenv("PRESET")
	script := os.Getenv("TEXT")
	for _, preset := range apigpu.Presets() {
		if pick != "" && string(preset) != pick {
			continue
		}
		for name, text := range texts {
			if script != "" && name != script {
				continue
			}
			for shape, size := range map[string]Size{"wide": {1280, 720}, "tall": {720, 1280}, "square": {720, 720}} {
				if sh := os.Getenv("SHAPE"); sh != "" && sh != shape {
					continue
				}
				sheet, err := Set(Job{Cues: []caption.Cue{{End: 4 * time.Second, Text: text}}, Style: apigpu.Style{Preset: preset, Emoji: apigpu.EmojiMono}, Size: size, Fonts: fonts, Clock: caption.FrameClock{Num: 25, Den: 1}})
				if err != nil {
					t.Fatal(err)
				}
				base := filepath.Join(dir, fmt.Sprintf("%s-%s-%s", preset, name, shape))
				os.WriteFile(base+".ass", sheet.ASS, 0o644)
				cmd := exec.Command("ffmpeg", "-v", "warning", "-y", "-framerate", "25", "-loop", "1", "-i", filepath.Join(dir, "bg-"+shape+".png"),
					"-vf", "select='eq(n\\,6)+eq(n\\,30)+eq(n\\,58)+eq(n\\,85)',ass="+base+".ass,scale=iw/2:ih/2,tile=2x2", "-frames:v", "1", "-update", "1", base+".png")
				if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
					t.Log(base, err, string(out))
				}
			}
		}
	}
}
