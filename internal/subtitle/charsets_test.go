package subtitle

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/text/unicode/norm"

	apigpu "github.com/api-gpu/api-gpu"
)

// spoken are lines of dialogue in the languages of old encodings, and those
// encodings. None of them is in the tables that tell encodings apart.
var spoken = []struct {
	language string
	charsets string // apart by spaces
	lines    []string
}{
	{"Portuguese", "windows-1252 iso-8859-15", []string{"Ninguém me disse que a reunião era hoje.", "Você não tem vergonha? Isso é um absurdo!", "Amanhã de manhã a gente conversa, está bem?", "Os ladrões fugiram pelo portão da fábrica.", "Ela nasceu em São João, perto de Macapá."}},
	{"Spanish", "windows-1252 iso-8859-15", []string{"¿Por qué no me lo dijiste ayer?", "El médico llegará en cinco minutos.", "¡Qué sueño tengo esta mañana!", "Mi tío vivía en un pequeño pueblo.", "Jamás habría imaginado algo así."}},
	{"French", "windows-1252", []string{"Vous êtes arrivés trop tard, hélas.", "Je t’ai déjà répété mille fois la même chose.", "Le garçon là-bas a l’air très fâché.", "Nous étions à côté du théâtre.", "Elle m’a prêté son vélo à l’école."}},
	{"German", "windows-1252", []string{"Können Sie mir sagen, wie spät es ist?", "Die Tür war nicht abgeschlossen, Herr Kommissar.", "Wir müssen früh aufstehen und losfahren.", "Das gehört dem König von Österreich.", "Er läuft die Straße hinunter."}},
	{"Danish", "windows-1252", []string{"Jeg forstår ikke, hvorfor du græder.", "Kan vi køre nu? Børnene er trætte.", "Han bor på en lille gård ved åen.", "Det gør ondt, når jeg går.", "Tror du på kærlighed ved første blik?"}},
	{"Swedish", "windows-1252", []string{"Varför sa du inte något tidigare?", "Hon är lärare på en skola i Malmö.", "Vi får hålla oss på avstånd från kanten.", "Det där är inte sant, farfar.", "Jag går hem nu, säger han."}},
	{"Icelandic", "windows-1252", []string{"Hvert eruð þið að fara svona seint?", "Þú átt ekki að segja svona hluti.", "Maðurinn býr í litlu húsi við höfnina.", "Ég get ekki beðið lengur eftir þér.", "Nú er nóg komið, sagði hún."}},
	{"Polish", "windows-1250 iso-8859-2", []string{"Nikt mi nie powiedział, że zebranie jest dziś.", "Gdzie położyłeś klucze do mieszkania?", "Jutro rano porozmawiamy o tym spokojnie.", "Złodzieje uciekli przez bramę fabryki.", "Pojedziemy nad morze w piątek wieczorem."}},
	{"Czech", "windows-1250 iso-8859-2", []string{"Nikdo mi neřekl, že schůze je dnes večer.", "Kam jsi položil ty klíče od bytu?", "Zítra ráno si o tom v klidu promluvíme.", "Zloději utekli bránou té staré továrny.", "V pátek pojedeme k moři, když bude hezky."}},
	{"Slovak", "windows-1250 iso-8859-2", []string{"Nikto mi nepovedal, že schôdza je dnes.", "Kam si položil kľúče od toho bytu?", "Zajtra ráno sa o tom v pokoji porozprávame.", "Zlodeji utiekli bránou starej továrne.", "V piatok pôjdeme k moru, ak bude pekne."}},
	{"Hungarian", "windows-1250 iso-8859-2", []string{"Senki sem szólt, hogy ma van a megbeszélés.", "Hová tetted a lakás kulcsait, fiam?", "Holnap reggel nyugodtan megbeszéljük.", "A tolvajok a gyár kapuján át szöktek meg.", "Pénteken lemegyünk a tengerhez, ha jó idő lesz."}},
	{"Croatian", "windows-1250 iso-8859-2", []string{"Nitko mi nije rekao da je sastanak večeras.", "Gdje si stavio ključeve od kuće, čovječe?", "Sutra ćemo ujutro o tome mirno razgovarati.", "Lopovi su pobjegli kroz tvornička vrata, šefe.", "U petak idemo na more, ako bude sunčano."}},
	{"Slovene", "windows-1250 iso-8859-2", []string{"Nihče mi ni povedal, da je sestanek nocoj.", "Kam si dal ključe od hiše, prijatelj?", "Jutri zjutraj se bova mirno pogovorila, če želiš.", "Tatovi so zbežali skozi tovarniška vrata.", "V petek gremo na morje, če bo sončno."}},
	{"Romanian", "windows-1250 iso-8859-2", []string{"Nimeni nu mi-a spus că şedinţa e astăzi.", "Unde ai pus cheile de la apartament, băiete?", "Mâine dimineaţă vom vorbi în linişte.", "Hoţii au fugit prin poarta fabricii vechi.", "Vineri mergem la mare, dacă va fi frumos."}},
	{"Turkish", "windows-1254 iso-8859-9", []string{"Kimse bana toplantının bugün olduğunu söylemedi.", "Evin anahtarlarını nereye koydun, oğlum?", "Yarın sabah bunu sakince konuşuruz.", "Hırsızlar fabrikanın kapısından kaçtı.", "Cuma günü denize gideceğiz, hava güzel olursa."}},
	{"Lithuanian", "windows-1257 iso-8859-13", []string{"Niekas man nesakė, kad susirinkimas šiandien.", "Kur padėjai namų raktus, vaikeli?", "Rytoj ryte apie tai ramiai pasikalbėsime.", "Vagys pabėgo pro senos gamyklos vartus.", "Penktadienį važiuosime prie jūros."}},
	{"Latvian", "windows-1257 iso-8859-13", []string{"Neviens man neteica, ka sapulce ir šodien.", "Kur tu noliki mājas atslēgas, dēls?", "Rīt no rīta mēs par to mierīgi parunāsim.", "Zagļi aizbēga pa vecās rūpnīcas vārtiem.", "Piektdien brauksim uz jūru, ja būs jauks laiks."}},
	{"Estonian", "windows-1257", []string{"Keegi ei öelnud mulle, et koosolek on täna.", "Kuhu sa korteri võtmed panid, poiss?", "Homme hommikul räägime sellest rahulikult.", "Vargad põgenesid läbi vana tehase värava.", "Reedel sõidame mere äärde, kui ilm on hea."}},
	{"Russian", "windows-1251 koi8-r iso-8859-5 ibm866 x-mac-cyrillic", []string{"Никто мне не сказал, что собрание сегодня.", "Куда ты положил ключи от квартиры?", "Завтра утром мы спокойно об этом поговорим.", "Воры убежали через ворота старой фабрики.", "В пятницу мы поедем к морю, если будет тепло."}},
	{"Ukrainian", "windows-1251 koi8-u", []string{"Ніхто мені не сказав, що збори сьогодні.", "Куди ти поклав ключі від квартири?", "Завтра вранці ми спокійно про це поговоримо.", "Злодії втекли через ворота старої фабрики.", "У п'ятницю поїдемо до моря, якщо буде тепло."}},
	{"Bulgarian", "windows-1251 iso-8859-5", []string{"Никой не ми каза, че събранието е днес.", "Къде сложи ключовете от апартамента?", "Утре сутринта ще поговорим спокойно за това.", "Крадците избягаха през вратата на фабриката.", "В петък ще отидем на море, ако е топло."}},
	{"Serbian", "windows-1251 iso-8859-5", []string{"Нико ми није рекао да је састанак вечерас.", "Где си ставио кључеве од куће, човече?", "Сутра ћемо ујутру мирно разговарати о томе.", "Лопови су побегли кроз фабричка врата.", "У петак идемо на море, ако буде сунчано."}},
	{"Greek", "windows-1253 iso-8859-7", []string{"Κανείς δεν μου είπε ότι η συνάντηση είναι σήμερα.", "Πού έβαλες τα κλειδιά του σπιτιού;", "Αύριο το πρωί θα το συζητήσουμε ήρεμα.", "Οι κλέφτες ξέφυγαν από την πύλη του εργοστασίου.", "Την Παρασκευή θα πάμε στη θάλασσα."}},
	{"Hebrew", "windows-1255 iso-8859-8", []string{"אף אחד לא אמר לי שהפגישה היום.", "איפה שמת את המפתחות של הדירה?", "מחר בבוקר נדבר על זה בשקט.", "הגנבים ברחו דרך השער של המפעל.", "ביום שישי ניסע לים אם יהיה חם."}},
	{"Arabic", "windows-1256 iso-8859-6", []string{"لم يخبرني أحد أن الاجتماع اليوم.", "أين وضعت مفاتيح الشقة يا ولدي؟", "غدا صباحا سنتحدث عن هذا بهدوء.", "هرب اللصوص من بوابة المصنع القديم.", "يوم الجمعة سنذهب إلى البحر."}},
	{"Persian", "windows-1256", []string{"هيچ کس به من نگفت که جلسه امروز است.", "کليد خانه را کجا گذاشتي، پسرم؟", "فردا صبح درباره اين موضوع صحبت مي کنيم."}},
	{"Thai", "windows-874", []string{"ไม่มีใครบอกผมว่าประชุมวันนี้", "คุณเอากุญแจห้องไปไว้ที่ไหน", "พรุ่งนี้เช้าเราค่อยคุยกันเรื่องนี้", "พวกขโมยหนีออกไปทางประตูโรงงาน", "วันศุกร์เราจะไปทะเลกัน"}},
	{"Vietnamese", "windows-1258", []string{"Không ai bảo với tôi là hôm nay có cuộc họp.", "Con để chìa khóa nhà ở chỗ nào rồi?", "Sáng mai chúng ta sẽ nói chuyện này sau.", "Bọn trộm đã trốn qua cổng nhà máy cũ.", "Thứ sáu chúng ta sẽ đi biển nếu trời ấm."}},
	{"Chinese (simplified)", "gb18030", []string{"没有人告诉我会议是今天。", "你把房间的钥匙放在哪里了？", "明天早上我们再慢慢商量吧。", "小偷从旧工厂的大门逃走了。", "星期五如果天气好就去海边。"}},
	{"Chinese (traditional)", "big5 gb18030", []string{"沒有人告訴我會議是今天。", "你把房間的鑰匙放在哪裡了？", "明天早上我們再慢慢商量吧。", "小偷從舊工廠的大門逃走了。", "星期五如果天氣好就去海邊。"}},
	{"Japanese", "shift_jis euc-jp iso-2022-jp", []string{"会議が今日だなんて誰も教えてくれなかった。", "部屋の鍵をどこに置いたの？", "明日の朝、落ち着いて話しましょう。", "泥棒たちは古い工場の門から逃げた。", "金曜日、天気が良ければ海へ行こう。"}},
	{"Korean", "euc-kr", []string{"회의가 오늘이라고 아무도 말해 주지 않았어.", "집 열쇠를 어디에 두었니?", "내일 아침에 차분하게 이야기합시다.", "도둑들은 낡은 공장 문으로 도망쳤다.", "금요일에 날씨가 좋으면 바다에 가자."}},
}

// TestCharsets reads dialogue in every language and encoding, as long as a
// scene and as short as three cues: every letter must be right.
func TestCharsets(t *testing.T) {
	t.Parallel()
	for _, s := range spoken {
		for charset := range strings.FieldsSeq(s.charsets) {
			for _, file := range [][]string{s.lines, s.lines[:3], s.lines[len(s.lines)-3:], slices.Repeat(s.lines, 20)} {
				checkCharset(t, s.language, charset, file)
			}
		}
	}
}

// TestShortFiles: a file of one cue or two is read right or refused, and most
// are read. So is one whose lines end as on an old Macintosh.
func TestShortFiles(t *testing.T) {
	t.Parallel()
	files, refused := 0, 0
	for _, s := range spoken {
		for charset := range strings.FieldsSeq(s.charsets) {
			for n := 1; n <= 2; n++ {
				for i := 0; i+n <= len(s.lines); i++ {
					lines := s.lines[i : i+n]
					text := srt(lines...)
					if charset == "windows-1258" {
						text = tonesApart(text)
					}
					b, _ := encodeAs(t, charset, strings.ReplaceAll(text, "\n", "\r"))
					files++
					switch d, err := Parse(b, Options{}); {
					case apigpu.CodeOf(err) == apigpu.SubtitleCharset:
						refused++
					case err != nil || !slices.Equal(texts(d.Cues), lines):
						t.Errorf("%s in %s: read as %s: %q, %v", s.language, charset, d.Charset, texts(d.Cues), err)
					}
				}
			}
		}
	}
	t.Logf("%d files, %d refused", files, refused)
	if refused*20 > files {
		t.Errorf("%d of %d files refused", refused, files)
	}
}

// checkCharset wants the text of a file back.
func checkCharset(t *testing.T, language, charset string, lines []string) {
	t.Helper()
	enc, name, ok := named(charset)
	if !ok {
		t.Fatalf("%s: no such encoding", charset)
	}
	text := srt(lines...)
	if charset == "windows-1258" {
		text = tonesApart(text)
	}
	b, err := enc.NewEncoder().Bytes([]byte(text))
	if err != nil {
		t.Fatalf("%s in %s: %v", language, charset, err)
	}
	for given, o := range map[string]Options{"": {}, charset: {Charset: charset}} {
		d, err := Parse(b, o)
		switch {
		case err != nil:
			t.Errorf("%s in %s, %d cues, charset %q: %v (%s)", language, charset, len(lines), given, err, apigpu.AsError(err).Hint)
		case !slices.Equal(texts(d.Cues), lines):
			t.Errorf("%s in %s, %d cues, charset %q: read as %s: %q", language, charset, len(lines), given, d.Charset, texts(d.Cues)[:3])
		case given != "" && (d.Charset != name || d.Confidence != 1 || len(d.Notes) > 0):
			t.Errorf("%s in %s: read as %s, %v sure, notes %v, though it was named", language, charset, d.Charset, d.Confidence, d.Notes)
		case given == "" && (d.Confidence <= 0.5 || d.Confidence >= 1):
			t.Errorf("%s in %s: %v sure", language, charset, d.Confidence)
		}
	}
}

// tonesApart writes Vietnamese as windows-1258 has it: tones stand after their
// letters.
func tonesApart(text string) string {
	var b strings.Builder
	for _, r := range text {
		d := []rune(norm.NFD.String(string(r)))
		tone := slices.IndexFunc(d, func(r rune) bool { return strings.ContainsRune("\u0300\u0301\u0303\u0309\u0323", r) })
		if len(d) < 2 || tone < 0 {
			b.WriteRune(r)
			continue
		}
		mark := d[tone]
		b.WriteString(norm.NFC.String(string(slices.Delete(d, tone, tone+1))))
		b.WriteRune(mark)
	}
	return b.String()
}

func TestCharsetIsNamed(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"UTF-8": "utf-8", "utf8": "utf-8", "latin1": "windows-1252", "ISO-8859-1": "windows-1252", "CP1250": "windows-1250", "1251": "windows-1251",
		"Win-1256": "windows-1256", "GB2312": "gb18030", "SJIS": "shift_jis", "Shift-JIS": "shift_jis", "EUC_KR": "", "euc-kr": "euc-kr", "big5": "big5",
		"koi8-r": "koi8-r", "cp866": "ibm866", "UTF-16": "utf-16le", "utf-32be": "utf-32be", "klingon": "", "x-user-defined": "", "replacement": "",
	} {
		if _, got, _ := named(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	_, err := Parse([]byte(one), Options{Charset: "klingon"})
	if e := apigpu.AsError(err); e.Code != apigpu.SubtitleCharset || e.Field != "charset" {
		t.Errorf("an unknown charset: %+v", e)
	}
}

// TestHint: what the server of a file says decides where the text leaves it
// open, and nowhere else.
func TestHint(t *testing.T) {
	t.Parallel()
	short, _ := encodeAs(t, "windows-1250", srt("Ča, mačka."))
	if d, err := Parse(short, Options{}); err == nil && d.Cues[0].Text != "Ča, mačka." {
		t.Errorf("without a hint: %q", d.Cues[0].Text)
	}
	long, lines := encodeAs(t, "windows-1251", srt(spoken[18].lines...))
	for _, hint := range []string{"iso-8859-1", "utf-8", "shift_jis", "nonsense"} {
		d, err := Parse(long, Options{Hint: hint})
		if err != nil || d.Charset != "windows-1251" {
			t.Errorf("with the wrong hint %s: %v, %s: %s", hint, err, d.Charset, lines[:10])
		}
	}
}

func encodeAs(t *testing.T, charset, text string) ([]byte, string) {
	t.Helper()
	enc, _, _ := named(charset)
	return encode(t, enc, text), text
}
