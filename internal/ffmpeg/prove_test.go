package ffmpeg

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	apigpu "github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/test/need"
)

func TestProve(t *testing.T) {
	need.FFmpeg(t)
	t.Parallel()
	a, err := testTools(t).Prove(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if a.Encoder != X264 && a.Encoder != NVENC || a.Threads < 1 || a.Version == "unknown" || (a.GPU != "") != (a.Encoder == NVENC) {
		t.Errorf("%+v", a)
	}
}

// An FFmpeg that lists everything and can encode nothing.
func TestProveNeedsAnEncoder(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, filters string }{
		{"nothing encodes", " ... ass               V->V       Render ASS subtitles"},
		{"no libass", " ... null              V->V       Pass the source unchanged"},
	} {
		tools := standIn(t, `case "$*" in
*-version*) echo 'ffmpeg version 6.1.1 Copyright';;
*-filters*) echo '`+c.filters+`';;
*-encoders*) echo ' V..... libx265              libx265 H.265 / HEVC (codec hevc)';;
*) exit 1;;
esac
`)
		a, err := tools.Prove(t.Context())
		if apigpu.CodeOf(err) != apigpu.NoEncoder || a.Version != "6.1.1" {
			t.Errorf("%s: %+v, %v", c.name, a, err)
		}
	}
}

func TestProveFont(t *testing.T) {
	need.FFmpeg(t)
	t.Parallel()
	tools, dir := testTools(t), t.TempDir()
	writeScript(t, dir, 320, 180)
	path := filepath.Join(dir, ScriptFile)
	script, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tools.ProveFont(t.Context(), dir); err != nil {
		t.Errorf("a frame with something on it: %v", err)
	}
	empty, _, _ := strings.Cut(string(script), "Dialogue:")
	if err := os.WriteFile(path, []byte(empty), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := tools.ProveFont(t.Context(), dir); apigpu.CodeOf(err) != apigpu.NoEncoder {
		t.Errorf("a frame that stays black: %v", err)
	}
}

func TestFontSelected(t *testing.T) {
	const log = "[Parsed_ass_0 @ 0x56] Using font provider fontconfig\n" +
		"[Parsed_ass_0 @ 0x56] fontselect: (Noto Sans, 700, 0) -> /usr/share/fonts/Noto (1), x/NotoSans-Bold.ttf, 0, NotoSans-Bold\n"
	match := fontSelected.FindStringSubmatch(log)
	if match == nil || match[1] != "NotoSans-Bold" {
		t.Errorf("%q", match)
	}
}

func TestCores(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	for _, c := range []struct {
		name string
		root fstest.MapFS
		want float64
	}{
		{"no control groups", nil, 8},
		{"v2 container", fstest.MapFS{"proc/self/cgroup": file("0::/\n"), "sys/fs/cgroup/cpu.max": file("150000 100000\n")}, 1.5},
		{"v2 without a limit", fstest.MapFS{"proc/self/cgroup": file("0::/\n"), "sys/fs/cgroup/cpu.max": file("max 100000\n")}, 8},
		{"v2 more than there is", fstest.MapFS{"proc/self/cgroup": file("0::/\n"), "sys/fs/cgroup/cpu.max": file("6400000 100000\n")}, 8},
		{"v2 the least on the way up", fstest.MapFS{
			"proc/self/cgroup":          file("0::/a/b\n"),
			"sys/fs/cgroup/a/cpu.max":   file("200000 100000\n"),
			"sys/fs/cgroup/a/b/cpu.max": file("max 100000\n"),
		}, 2},
		{"v1 in a container, the path is the host's", fstest.MapFS{
			"proc/self/cgroup":                    file("5:memory:/docker/1f\n4:cpu,cpuacct:/docker/1f\n"),
			"sys/fs/cgroup/cpu/cpu.cfs_quota_us":  file("50000\n"),
			"sys/fs/cgroup/cpu/cpu.cfs_period_us": file("100000\n"),
		}, 0.5},
		{"v1 without a limit", fstest.MapFS{
			"proc/self/cgroup":                    file("4:cpu:/\n"),
			"sys/fs/cgroup/cpu/cpu.cfs_quota_us":  file("-1\n"),
			"sys/fs/cgroup/cpu/cpu.cfs_period_us": file("100000\n"),
		}, 8},
		{"hidden /proc", fstest.MapFS{"sys/fs/cgroup/cpu.max": file("300000 100000\n")}, 3},
		{"nonsense", fstest.MapFS{"proc/self/cgroup": file("0::/../..\nx\n"), "sys/fs/cgroup/cpu.max": file("NaN 0\n")}, 8},
	} {
		if got := cores(c.root, 8); got != c.want {
			t.Errorf("%s: %g cores, want %g", c.name, got, c.want)
		}
	}
	if got := Cores(); got <= 0 {
		t.Errorf("this machine has %g cores", got)
	}
}

func TestMoovFirst(t *testing.T) {
	box := func(kind string, payload int) []byte {
		b := binary.BigEndian.AppendUint32(nil, uint32(8+payload))
		return append(append(b, kind...), make([]byte, payload)...)
	}
	large := append([]byte{0, 0, 0, 1}, "wide"...)
	large = append(binary.BigEndian.AppendUint64(large, 24), make([]byte, 8)...)
	for _, c := range []struct {
		name  string
		file  []byte
		first bool
		bad   bool
	}{
		{"index first", append(box("ftyp", 24), box("moov", 8)...), true, false},
		{"data first", append(box("ftyp", 24), append(box("mdat", 8), box("moov", 8)...)...), false, false},
		{"a 64-bit length", append(large, box("moov", 8)...), true, false},
		{"neither", box("ftyp", 24), false, true},
		{"a length that goes nowhere", make([]byte, 64), false, true},
		{"too many boxes", bytes.Repeat(box("free", 0), 1000), false, true},
		{"empty", nil, false, true},
	} {
		first, err := moovFirst(bytes.NewReader(c.file))
		if first != c.first || (err != nil) != c.bad {
			t.Errorf("%s: %t, %v", c.name, first, err)
		}
	}
}

func FuzzMoovFirst(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x08moov"))
	f.Add([]byte("\x00\x00\x00\x01mdat\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, file []byte) {
		if first, err := moovFirst(bytes.NewReader(file)); first && err != nil {
			t.Error("both an index and an error")
		}
	})
}

func TestMismatch(t *testing.T) {
	in := plain()
	good := Probe{Duration: 30 * time.Second, Audio: in.Audio,
		Video: Video{Codec: "h264", PixFmt: "yuv420p", Width: 1920, Height: 1080, Frames: 900, AvgRate: Rational{30, 1}}}
	report := Report{Progress: Progress{Frame: 900, OutTime: 29900 * time.Millisecond}}
	if fault := mismatch(Spec{}, in, report, good); fault != "" {
		t.Errorf("a good result: %s", fault)
	}
	for name, spoil := range map[string]func(*Probe){
		"codec":    func(p *Probe) { p.Video.Codec = "mpeg4" },
		"depth":    func(p *Probe) { p.Video.PixFmt = "yuv420p10le" },
		"size":     func(p *Probe) { p.Video.Width = 1280 },
		"rotation": func(p *Probe) { p.Video.Rotation = 90 },
		"frames":   func(p *Probe) { p.Video.Frames-- },
		"audio":    func(p *Probe) { p.Audio = nil },
		"text":     func(p *Probe) { p.Texts = 1 },
		"length":   func(p *Probe) { p.Duration = 20 * time.Second },
	} {
		bad := good
		spoil(&bad)
		if mismatch(Spec{}, in, report, bad) == "" {
			t.Errorf("%s: not noticed", name)
		}
	}
}
