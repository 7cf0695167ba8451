package subtitle

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/encoding/unicode/utf32"

	apigpu "github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/caption"
)

// srt makes a file with one cue for each line.
func srt(lines ...string) string {
	var b strings.Builder
	for i, line := range lines {
		at := centisecondsStamp(i * 200)
		b.WriteString(at + " --> " + centisecondsStamp(i*200+150) + "\n" + line + "\n\n")
	}
	return b.String()
}

func centisecondsStamp(cs int) string {
	return fmt.Sprintf("%02d:%02d:%02d,%02d0", cs/360_000, cs/6000%60, cs/100%60, cs%100)
}

func encode(t *testing.T, e encoding.Encoding, text string) []byte {
	t.Helper()
	b, err := e.NewEncoder().Bytes([]byte(text))
	if err != nil {
		t.Fatalf("encode %q: %v", text, err)
	}
	return b
}

func TestUnicode(t *testing.T) {
	t.Parallel()
	text := srt("Olá, coração", "Здравствуй", "日本語です", "🎬 já")
	for name, e := range map[string]encoding.Encoding{
		"utf-8":    encoding.Nop,
		"utf-16le": unicode.UTF16(unicode.LittleEndian, unicode.UseBOM),
		"utf-16be": unicode.UTF16(unicode.BigEndian, unicode.UseBOM),
		"utf-32le": utf32.UTF32(utf32.LittleEndian, utf32.UseBOM),
		"utf-32be": utf32.UTF32(utf32.BigEndian, utf32.UseBOM),
	} {
		checkDecodes(t, name, encode(t, e, text), "🎬 já")
	}
	checkDecodes(t, "utf-8", []byte("\xEF\xBB\xBF"+text), "🎬 já")
	unmarked := unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM)
	checkDecodes(t, "utf-16le", encode(t, unmarked, srt("Здравствуй, мир", "Как дела сегодня?")), "Как дела сегодня?")
	unmarked = unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM)
	checkDecodes(t, "utf-16be", encode(t, unmarked, srt("plain text")), "plain text")
}

func checkDecodes(t *testing.T, charset string, b []byte, last string) {
	t.Helper()
	d, err := Parse(b, Options{})
	if err != nil {
		t.Errorf("%s: %v", charset, err)
		return
	}
	if got := d.Cues[len(d.Cues)-1].Text; d.Charset != charset || got != last {
		t.Errorf("got %q in %s, want %q in %s", got, d.Charset, last, charset)
	}
	if charset != windows1252 && len(Warnings(d.Notes)) > 0 {
		t.Errorf("%s: warnings %v, want none", charset, Warnings(d.Notes))
	}
}

// western are texts of the languages that Windows-1252 was made for.
var western = map[string][]string{
	"Portuguese": {"Não sei o que você está fazendo aí.", "As crianças já vão à escola amanhã.", "São três corações, irmãos e mães.", "Põe a mão no chão, vovô!", "ATENÇÃO: É PROIBIDO. AÇÕES!", "É… não é?"},
	"Spanish":    {"¿Qué hora es, señor?", "¡Mañana será otro día!", "El pingüino comió más maíz.", "Él no sabía nada."},
	"French":     {"Où est ma sœur ?", "C’est déjà l’été, mon cœur.", "Le garçon a mangé à la fenêtre.", "Noël approche très vite.", "Ça va être sûr. « Voilà ! »", "Mon père a vu la mer, même en août."},
	"German":     {"Über die Brücke geht der Weg.", "Schöne Grüße, mein Süßer.", "Äpfel und Öl für die Küche."},
	"Italian":    {"Perché non c'è più nessuno?", "La città è così bella.", "Però lunedì verrà, cioè forse.", "È già qui."},
	"Danish":     {"Hvad laver du på øen?", "Jeg ville være her, når æblerne er røde.", "Det er længe siden, Søren."},
	"Norwegian":  {"Været er fint i dag, også på fjellet.", "Vi må gå nå, før det blir mørkt.", "Kjære, jeg elsker deg så høyt."},
	"Swedish":    {"Får jag gå över ån?", "Det är för mörkt på kvällen.", "Älskling, åk hem nu."},
	"Finnish":    {"Hyvää päivää, mitä kuuluu?", "Älä mene yöllä metsään.", "Tämä on hyvä työ."},
	"Icelandic":  {"Það er gott að sjá þig.", "Við förum á fjöllin í dag.", "Góðan daginn, ég heiti Þór.", "Ætlar þú að koma með?"},
	"Dutch":      {"Heb je zin in een cafeetje, één of twee?", "Het is geïmporteerd uit België.", "De coördinatie was goed."},
	"Catalan":    {"Què fas aquí, amic meu?", "La col·lecció és més gran.", "Això no és així, però l’ànima viu."},
	"English":    {"We met at the café near the old town hall, and then we walked along the river for an hour.", "It was a lovely evening, and nobody said anything about the money that we had lost in the morning.", "“Don’t,” she said — and left the room as if nothing of the kind had ever happened to her before."},
}

func TestWindows1252IsRead(t *testing.T) {
	t.Parallel()
	for language, lines := range western {
		checkDecodes(t, windows1252, encode(t, charmap.Windows1252, srt(lines...)), lines[len(lines)-1])
		// Each line alone is a file, too.
		for _, line := range lines {
			if b := encode(t, charmap.Windows1252, srt(line)); !strings.Contains(line, "“") {
				if _, err := Parse(b, Options{}); err != nil {
					t.Errorf("%s: %q alone: %v", language, line, err)
				}
			}
		}
	}
}

// A file of another encoding is refused, unless its bytes mean the same there:
// "édes" is "édes" in Windows-1250 too.
func TestOtherEncodingsAreRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		e     encoding.Encoding
		lines []string
	}{
		{"Croatian", charmap.Windows1250, []string{"Neće da izađe odatle.", "Večer je već počela.", "Šta hoćeš, čovječe?"}},
		{"Slovene", charmap.Windows1250, []string{"Kaj počneš tukaj?", "Reči mi, če hočeš.", "Že večer je, draga."}},
		{"Czech", charmap.Windows1250, []string{"Přišel večer a řekl to.", "Můžeš mi říct, kde je?", "Děkuji ti, příteli."}},
		{"Slovak", charmap.Windows1250, []string{"Ľúbim ťa, moja drahá.", "Večer prídeš domov?", "Ešte nie je koniec."}},
		{"Polish", charmap.Windows1250, []string{"Gdzie byłeś wczoraj?", "Proszę, chodź tutaj.", "Nie wiem, co się stało."}},
		{"Polish 8859-2", charmap.ISO8859_2, []string{"Gdzie byłeś wczoraj?", "Są jeszcze żywi.", "Coś się stało."}},
		{"Hungarian", charmap.Windows1250, []string{"Hol vagy, édes kisfiam?", "Az erdőben nőtt fel.", "Gyűlölöm ezt a szörnyű időt."}},
		{"Romanian", charmap.Windows1250, []string{"Îmi pare rău, mamă.", "Să mergem acasă, băiete.", "Aş vrea să ştiu adevărul."}},
		{"Turkish", charmap.Windows1254, []string{"Şimdi nereye gidiyorsun?", "Yağmur yağıyor, kardeşim.", "İyi akşamlar, nasılsınız?"}},
		{"Turkish 8859-9", charmap.ISO8859_9, []string{"Çocuğum, ağlama artık.", "Bu akşam eve gelmiyorum, değil mi?"}},
		{"Lithuanian", charmap.Windows1257, []string{"Ačiū, kaip jūs gyvenate?", "Aš nežinau, ką daryti.", "Tėvas grįžo namo."}},
		{"Latvian", charmap.Windows1257, []string{"Paldies, kā jums klājas?", "Es nezinu, ko darīt šodien.", "Māte ir mājās."}},
		{"Russian", charmap.Windows1251, []string{"Привет, как дела?", "Я не знаю, где он."}},
		{"Russian KOI8", charmap.KOI8R, []string{"Привет, как дела?", "Я не знаю, где он."}},
		{"Russian 866", charmap.CodePage866, []string{"Привет, как дела?", "Я не знаю, где он."}},
		{"Ukrainian", charmap.Windows1251, []string{"Де ти був учора?", "Їжак іде додому."}},
		{"Bulgarian", charmap.Windows1251, []string{"Добър ден, господине."}},
		{"Serbian", charmap.Windows1251, []string{"Где си био синоћ?"}},
		{"Greek", charmap.Windows1253, []string{"Καλημέρα, τι κάνεις;", "Δεν ξέρω πού είναι."}},
		{"Greek 8859-7", charmap.ISO8859_7, []string{"Καλημέρα, τι κάνεις;"}},
		{"Hebrew", charmap.Windows1255, []string{"שלום, מה שלומך?", "אני לא יודע."}},
		{"Arabic", charmap.Windows1256, []string{"مرحبا كيف حالك اليوم", "لا أعرف أين هو"}},
		{"Thai", charmap.Windows874, []string{"สวัสดีครับ คุณสบายดีไหม"}},
		{"Portuguese DOS", charmap.CodePage850, []string{"Não sei o que você está fazendo.", "São três corações."}},
		{"Portuguese Mac", charmap.Macintosh, []string{"Não sei o que você está fazendo.", "São três corações."}},
		{"German Mac", charmap.Macintosh, []string{"Über die Brücke geht der Weg.", "Schöne Grüße, mein Süßer."}},
		{"French 8859-15", charmap.ISO8859_15, []string{"Ma sœur a mal au cœur.", "Un bœuf et un œuf."}},
		{"Esperanto", charmap.ISO8859_3, []string{"Ĉu vi ŝatas la ĝardenon?", "Mi aŭdis la ĵurnaliston."}},
		{"Chinese", simplifiedchinese.GBK, []string{"你好，今天怎么样？", "我不知道他在哪里。"}},
		{"Chinese GB18030", simplifiedchinese.GB18030, []string{"谢谢你们，再见。"}},
		{"Chinese Big5", traditionalchinese.Big5, []string{"你好，今天怎麼樣？", "我不知道他在哪裡。"}},
		{"Japanese", japanese.ShiftJIS, []string{"こんにちは、元気ですか。", "私は学生です。"}},
		{"Japanese EUC", japanese.EUCJP, []string{"こんにちは、元気ですか。"}},
		{"Japanese JIS", japanese.ISO2022JP, []string{"こんにちは、元気ですか。"}},
		{"Korean", korean.EUCKR, []string{"안녕하세요, 잘 지내세요?", "저는 모릅니다."}},
	} {
		for _, file := range append([][]string{c.lines}, each(c.lines)...) {
			d, err := Parse(encode(t, c.e, srt(file...)), Options{})
			if apigpu.CodeOf(err) != apigpu.SubtitleCharset && !slices.Equal(texts(d.Cues), file) {
				t.Errorf("%s: read as %s, error %v: %q", c.name, d.Charset, err, texts(d.Cues))
			}
		}
	}
}

func each(lines []string) (out [][]string) {
	for _, l := range lines {
		out = append(out, []string{l})
	}
	return out
}

func texts(cues []caption.Cue) (out []string) {
	for _, c := range cues {
		out = append(out, c.Text)
	}
	return out
}

func TestDamagedUnicode(t *testing.T) {
	t.Parallel()
	good := srt("Olá, coração", "não há nada", "já é amanhã")
	for name, file := range map[string]string{
		"a stray byte in UTF-8":  good + srt("ma\xE7\xE3"),
		"a stray byte after BOM": "\xEF\xBB\xBF" + srt("a\xFFb"),
		"cut within a character": strings.TrimRight(srt("já é", "não é amanhã"), "\n") + "\xC3",
	} {
		_, err := Parse([]byte(file), Options{})
		if apigpu.CodeOf(err) != apigpu.SubtitleCharset {
			t.Errorf("%s: %v, want %s", name, err, apigpu.SubtitleCharset)
		}
		if e := apigpu.AsError(err); e != nil && e.Hint == "" {
			t.Errorf("%s: no hint", name)
		}
	}
	// An odd byte at the end of UTF-16 is no letter.
	wide := encode(t, unicode.UTF16(unicode.LittleEndian, unicode.UseBOM), srt("até"))
	checkDecodes(t, "utf-16le", wide[:len(wide)-1], "até")
	// Zero bytes at the end are padding.
	checkDecodes(t, "utf-8", []byte(good+"\x00\x00\x00"), "já é amanhã")
}
