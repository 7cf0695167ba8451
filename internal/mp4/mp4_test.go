package mp4

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// box builds a box of the given parts: byte slices, strings, and integers of
// their own width.
func box(kind string, parts ...any) []byte {
	content := join(parts...)
	return append(join(uint32(8+len(content)), kind), content...)
}

func join(parts ...any) []byte {
	var b []byte
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			b = append(b, p...)
		case []byte:
			b = append(b, p...)
		default:
			b, _ = binary.Append(b, binary.BigEndian, p)
		}
	}
	return b
}

func zeros(n int) []byte { return make([]byte, n) }

const one = uint32(1 << 16) // 1.0 in 16.16

var (
	upright = join(one, uint32(0), uint32(0), uint32(0), one, zeros(16))
	ftyp    = box("ftyp", "isom", uint32(0x200), "isom")
	mdat    = box("mdat", zeros(100))
)

// film is a video track of 10 s at 25 fps, 640x360, timescale 12800; its zero
// fields are that. Parts given replace the boxes of their kind.
type film struct {
	matrix  []byte
	codec   string
	extra   []byte // boxes in the sample entry
	mdhd    []byte
	stts    []byte
	edts    []byte
	samples uint32
}

func (f film) trak() []byte {
	if f.matrix == nil {
		f.matrix = upright
	}
	if f.codec == "" {
		f.codec = "avc1"
	}
	if f.mdhd == nil {
		f.mdhd = box("mdhd", zeros(12), uint32(12800), uint32(128000), zeros(4))
	}
	if f.stts == nil {
		f.stts = box("stts", zeros(4), uint32(1), uint32(250), uint32(512))
	}
	if f.samples == 0 {
		f.samples = 250
	}
	entry := box(f.codec, zeros(24), uint16(640), uint16(360), zeros(50), f.extra)
	return box("trak",
		box("tkhd", zeros(12), uint32(1), zeros(24), f.matrix[:36], 640*one, 360*one),
		f.edts,
		box("mdia", f.mdhd, box("hdlr", zeros(8), "vide", zeros(13)),
			box("minf", box("stbl",
				box("stsd", zeros(4), uint32(1), entry),
				f.stts,
				box("stsz", zeros(8), f.samples)))))
}

// sound is an audio track with this sample entry.
func sound(entry []byte) []byte {
	return box("trak", box("mdia", box("hdlr", zeros(8), "soun", zeros(13)),
		box("minf", box("stbl", box("stsd", zeros(4), uint32(1), entry)))))
}

func mp4a(objectType byte) []byte {
	esds := box("esds", zeros(4), []byte{3, 0x80, 0x80, 0x80, 22}, zeros(3), []byte{4, 17, objectType}, zeros(12))
	return box("mp4a", zeros(28), esds)
}

// mvhd says 20 s, so that nobody takes it for the track's length unseen.
var mvhd = box("mvhd", zeros(12), uint32(1000), uint32(20000), zeros(80))

func moov(parts ...any) []byte { return box("moov", append([]any{mvhd}, parts...)...) }

func parse(b []byte) (Info, error) { return Parse(bytes.NewReader(b), int64(len(b))) }

func TestParse(t *testing.T) {
	t.Parallel()
	elst := func(entries ...any) []byte {
		return box("edts", box("elst", append([]any{zeros(4), uint32(len(entries) / 3)}, entries...)...))
	}
	turned := func(a, b, c, d int32) []byte {
		return join(a<<16, b<<16, int32(0), c<<16, d<<16, zeros(16))
	}
	long := func(kind string, content []byte) []byte {
		return join(uint32(1), kind, uint64(16+len(content)), content)
	}
	plain := Info{
		Duration: 10 * time.Second, Width: 640, Height: 360, FPS: 25,
		VideoCodec: "h264", Frames: 250, VideoTracks: 1, MoovFirst: true,
	}
	with := func(change func(*Info)) Info { i := plain; change(&i); return i }

	for name, c := range map[string]struct {
		file []byte
		want Info
	}{
		"moov first": {join(ftyp, moov(film{}.trak()), mdat), plain},
		"moov last":  {join(ftyp, mdat, moov(film{}.trak())), with(func(i *Info) { i.MoovFirst = false })},
		"no ftyp, as old QuickTime": {
			join(box("wide"), mdat, moov(film{}.trak())), with(func(i *Info) { i.MoovFirst = false })},
		"64-bit sizes": {
			join(ftyp, long("mdat", zeros(50)), long("moov", join(mvhd, film{}.trak()))),
			with(func(i *Info) { i.MoovFirst = false })},
		"moov to the end of the file": {
			join(ftyp, uint32(0), "moov", mvhd, film{}.trak()), plain},
		"QuickTime's four zeros after a list": {
			join(ftyp, box("moov", mvhd, film{}.trak(), box("udta", zeros(4)), zeros(4))), plain},
		"turned right": {
			join(ftyp, moov(film{matrix: turned(0, 1, -1, 0)}.trak())),
			with(func(i *Info) { i.Width, i.Height, i.Rotation = 360, 640, 90 })},
		"upside down": {
			join(ftyp, moov(film{matrix: turned(-1, 0, 0, -1)}.trak())), with(func(i *Info) { i.Rotation = 180 })},
		"turned left": {
			join(ftyp, moov(film{matrix: turned(0, -1, 1, 0)}.trak())),
			with(func(i *Info) { i.Width, i.Height, i.Rotation = 360, 640, 270 })},
		"wide pixels": {
			join(ftyp, moov(film{extra: box("pasp", uint32(4), uint32(3))}.trak())), with(func(i *Info) { i.Width = 853 })},
		"wide pixels, turned": {
			join(ftyp, moov(film{extra: box("pasp", uint32(2), uint32(1)), matrix: turned(0, 1, -1, 0)}.trak())),
			with(func(i *Info) { i.Width, i.Height, i.Rotation = 360, 1280, 90 })},
		"absurd pixels": {
			join(ftyp, moov(film{extra: box("pasp", uint32(1<<31), uint32(1))}.trak())), plain},
		"an edit that cuts": {
			join(ftyp, moov(film{edts: elst(uint32(4000), uint32(1024), one)}.trak())),
			with(func(i *Info) { i.Duration = 4 * time.Second })},
		"an empty edit does not count": {
			join(ftyp, moov(film{edts: elst(uint32(3000), int32(-1), one, uint32(9000), uint32(0), one)}.trak())),
			with(func(i *Info) { i.Duration = 9 * time.Second })},
		"an edit longer than the media": {
			join(ftyp, moov(film{edts: elst(uint32(60000), uint32(0), one)}.trak())), plain},
		"version 1 times": {
			join(ftyp, moov(film{mdhd: box("mdhd", uint32(1<<24), zeros(16), uint32(12800), uint64(128000), zeros(4))}.trak())), plain},
		"samples win over mdhd": {
			join(ftyp, moov(film{mdhd: box("mdhd", zeros(12), uint32(12800), uint32(100000), zeros(4))}.trak())), plain},
		"but not with an absurd last sample": {
			join(ftyp, moov(film{stts: box("stts", zeros(4), uint32(2), uint32(249), uint32(512), uint32(1), uint32(1<<31))}.trak())), plain},
		"no times in the track": {
			join(ftyp, moov(film{
				stts: box("stts", zeros(8)), mdhd: box("mdhd", zeros(12), uint32(12800), uint32(math.MaxUint32), zeros(4)),
			}.trak())), with(func(i *Info) { i.Duration, i.FPS = 20*time.Second, 0 })},
		"a cover before the film": {
			join(ftyp, moov(film{codec: "jpeg", samples: 1}.trak(), film{codec: "hvc1"}.trak())),
			with(func(i *Info) { i.VideoCodec, i.VideoTracks = "hevc", 2 })},
		"sound": {
			join(ftyp, moov(sound(mp4a(0x40)), film{}.trak(), sound(box("Opus", zeros(28))))),
			with(func(i *Info) { i.AudioCodec, i.AudioTracks = "aac", 2 })},
		"mp3 as mp4a": {
			join(ftyp, moov(film{}.trak(), sound(mp4a(0x6B)))),
			with(func(i *Info) { i.AudioCodec, i.AudioTracks = "mp3", 1 })},
		"QuickTime's sound": {
			join(ftyp, moov(film{}.trak(), sound(box("mp4a", zeros(8), uint16(1), zeros(34), box("wave", mp4a(0x69)[36:]))))),
			with(func(i *Info) { i.AudioCodec, i.AudioTracks = "mp3", 1 })},
		"an unknown codec": {
			join(ftyp, moov(film{codec: "x\n\xffy"}.trak())), with(func(i *Info) { i.VideoCodec = "x??y" })},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := parse(c.file)
			got.Claimed = 0 // see TestClaimed
			if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
				t.Errorf("error %v, want none; difference (-want +got):\n%s", err, diff)
			}
		})
	}
}

// What headers promise is told beside what the samples say.
func TestClaimed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		mdhd []byte
		want time.Duration
	}{
		"by the file":     {nil, 20 * time.Second},
		"by the track":    {box("mdhd", zeros(12), uint32(1000), uint32(143_165_000), zeros(4)), 143_165 * time.Second},
		"by nothing sane": {box("mdhd", zeros(12), uint32(1), uint32(1<<32-1), zeros(4)), 20 * time.Second},
	} {
		got, err := parse(join(ftyp, moov(film{mdhd: c.mdhd}.trak())))
		if err != nil || got.Claimed != c.want {
			t.Errorf("%s: %s, %v", name, got.Claimed, err)
		}
	}
}

func TestParseFragmented(t *testing.T) {
	t.Parallel()
	// The tables of a fragmented track are empty; mvhd says nothing.
	empty := film{
		stts: box("stts", zeros(8)), mdhd: box("mdhd", zeros(12), uint32(12800), zeros(8)),
	}.trak()
	empty = bytes.Replace(empty, join("stsz", zeros(8), uint32(250)), join("stsz", zeros(12)), 1)
	header := func(mehd []byte) []byte {
		return join(ftyp, box("moov", box("mvhd", zeros(12), uint32(1000), zeros(84)), empty,
			box("mvex", mehd, box("trex", zeros(4), uint32(1), uint32(1), uint32(512), zeros(8)))))
	}
	sidx := box("sidx", zeros(4), uint32(1), uint32(1000), zeros(10), uint16(2),
		uint32(100), uint32(4000), uint32(0), uint32(100), uint32(3000), uint32(0))
	moof := box("moof", box("mfhd", zeros(8)),
		box("traf", box("tfhd", zeros(4), uint32(2)), box("tfdt", zeros(4), uint32(99999999))),
		box("traf", box("tfhd", uint32(0x8), uint32(1), uint32(256)),
			box("tfdt", uint32(1<<24), uint64(12800*6)),
			box("trun", uint32(0x1), uint32(50), uint32(0))))
	before := join(header(nil), mdat)
	tfra := box("tfra", zeros(4), uint32(1), zeros(4), uint32(2),
		uint32(0), uint32(1), zeros(3), uint32(76800), uint32(len(before)), zeros(3))
	mfra := box("mfra", tfra, box("mfro", zeros(4), uint32(8+len(tfra)+16)))

	for name, c := range map[string]struct {
		file []byte
		want time.Duration
		fps  float64
	}{
		"says nothing":        {join(header(nil), mdat), 0, 25},
		"mehd":                {join(header(box("mehd", zeros(4), uint32(8000))), mdat), 8 * time.Second, 25},
		"sidx":                {join(header(nil), box("free", zeros(9)), sidx, mdat), 7 * time.Second, 25},
		"the last fragment":   {join(before, moof, mdat, mfra), 7 * time.Second, 50},
		"an index that lies":  {join(before, mdat, moof, mdat, mfra), 0, 25},
		"a sidx that is huge": {join(header(nil), uint32(1<<31), "sidx", mdat), 0, 25},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := parse(c.file)
			if err != nil || got.Duration != c.want || got.FPS != c.fps || !got.Fragmented || got.Frames != 0 {
				t.Errorf("got %+v, %v; want %v at %v fps", got, err, c.want, c.fps)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	whole := join(ftyp, mdat, moov(film{}.trak()))
	for name, c := range map[string]struct {
		file []byte
		want error
	}{
		"nothing":              {nil, ErrNotMP4},
		"seven bytes":          {whole[:7], ErrNotMP4},
		"Matroska":             {join(uint32(0x1A45DFA3), zeros(60)), ErrNotMP4},
		"a web page":           {[]byte("<!DOCTYPE html><html><head>"), ErrNotMP4},
		"no moov":              {join(ftyp, mdat), ErrDamaged},
		"cut in mdat":          {join(ftyp, mdat[:50]), ErrDamaged},
		"cut in moov":          {whole[:len(whole)-1], ErrDamaged},
		"moov of 1 TiB":        {join(ftyp, uint32(1), "moov", uint64(1<<40)), ErrDamaged},
		"a box of minus one":   {join(ftyp, uint32(1), "mdat", uint64(math.MaxUint64)), ErrDamaged},
		"a box of seven bytes": {join(ftyp, uint32(7), "free"), ErrDamaged},
		"many boxes":           {join(ftyp, bytes.Repeat(box("free"), maxBoxes)), ErrDamaged},
		"a child too long":     {join(ftyp, box("moov", uint32(100), "trak")), ErrDamaged},
		"a short tkhd":         {join(ftyp, moov(box("trak", box("tkhd", zeros(40))))), ErrDamaged},
		"a table that lies":    {join(ftyp, moov(film{stts: box("stts", zeros(4), uint32(math.MaxUint32))}.trak())), ErrDamaged},
		"a compressed header":  {join(ftyp, box("moov", box("cmov", zeros(8)))), ErrDamaged},
		"sound alone":          {join(ftyp, moov(sound(mp4a(0x40)))), ErrNoVideo},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := parse(c.file)
			if !errors.Is(err, c.want) {
				t.Fatalf("got %+v, %v; want %v", got, err, c.want)
			}
			if c.want == ErrNoVideo && (got.AudioCodec != "aac" || got.Duration != 20*time.Second) {
				t.Errorf("what is known was not told: %+v", got)
			}
		})
	}
}

// sparse is a huge file: parts at offsets, zeros elsewhere. It counts reads.
type sparse struct {
	parts map[int64][]byte
	reads int
	bytes int
}

func (s *sparse) ReadAt(p []byte, off int64) (int, error) {
	s.reads++
	s.bytes += len(p)
	clear(p)
	for at, b := range s.parts {
		if off >= at && off < at+int64(len(b)) {
			copy(p, b[off-at:])
		}
	}
	return len(p), nil
}

// A film of one terabyte, its header at the end, costs four small reads.
func TestParseReadsLittle(t *testing.T) {
	t.Parallel()
	const size = 1 << 40
	head := moov(film{}.trak())
	at := int64(size - len(head))
	s := &sparse{parts: map[int64][]byte{
		0:                ftyp,
		int64(len(ftyp)): join(uint32(1), "mdat", uint64(at-int64(len(ftyp)))),
		at:               head,
	}}
	got, err := Parse(s, size)
	if err != nil || got.Duration != 10*time.Second {
		t.Fatalf("got %+v, %v", got, err)
	}
	if s.reads > 4 || s.bytes > len(head)+3*16 {
		t.Errorf("took %d reads of %d bytes in all", s.reads, s.bytes)
	}
}

type brokenReader struct{ err error }

func (b brokenReader) ReadAt([]byte, int64) (int, error) { return 0, b.err }

// The reader's own error must come through: it says whether to try again.
func TestParseReaderError(t *testing.T) {
	t.Parallel()
	broken := errors.New("line cut")
	if _, err := Parse(brokenReader{broken}, 1000); !errors.Is(err, broken) {
		t.Errorf("got %v, want the reader's error", err)
	}
	if _, err := Parse(brokenReader{io.EOF}, 1000); !errors.Is(err, ErrDamaged) {
		t.Errorf("a file shorter than its size: got %v, want ErrDamaged", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(join(ftyp, mdat, moov(film{}.trak(), sound(mp4a(0x40)))))
	f.Add(join(ftyp, moov(film{edts: box("edts", box("elst", zeros(4), uint32(1), uint32(500), zeros(8)))}.trak())))
	f.Add(join(ftyp, moov(film{}.trak(), box("mvex", box("trex", zeros(24)))), box("sidx", zeros(40))))
	f.Add([]byte("\x00\x00\x00\x01mdat\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := parse(b)
		if err != nil && !errors.Is(err, ErrNotMP4) && !errors.Is(err, ErrNoVideo) && !errors.Is(err, ErrDamaged) {
			t.Errorf("an unnamed error: %v", err)
		}
		if got.Duration < 0 || got.Duration > maxSpan || got.FPS < 0 || got.FPS > maxFPS || math.IsNaN(got.FPS) {
			t.Errorf("absurd times: %+v", got)
		}
		if got.Width < 0 || got.Height < 0 || got.Width > 16*65536 || got.Height > 16*65536 || got.Rotation%90 != 0 {
			t.Errorf("absurd shape: %+v", got)
		}
		if strings.ContainsFunc(got.VideoCodec+got.AudioCodec, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("a codec name that is not safe to show: %q %q", got.VideoCodec, got.AudioCodec)
		}
	})
}
