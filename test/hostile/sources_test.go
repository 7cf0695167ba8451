package hostile

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// sources is a server that lies.
type sources struct {
	*httptest.Server
	tripped atomic.Int64 // requests for what only a followed playlist names
}

const goodSRT = "1\n00:00:00,100 --> 00:00:00,900\nHello\n"

// serveSources serves the files of media under /file, and every trick beside.
func serveSources(t *testing.T, media string) *sources {
	t.Helper()
	s := &sources{}
	video := read(t, media, "good.mp4")
	mux := http.NewServeMux()
	mux.Handle("/file/", http.StripPrefix("/file/", http.FileServer(http.Dir(media))))
	handle := func(path string, h http.HandlerFunc) { mux.HandleFunc(path, h) }
	text := func(path, body string) {
		handle(path, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) })
	}
	text("/good.srt", goodSRT)
	handle("/tripwire", func(http.ResponseWriter, *http.Request) { s.tripped.Add(1) })
	s.lengths(handle, video)
	s.redirects(handle)
	s.subtitles(handle, text)
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	s.playlists(text)
	return s
}

// lengths are answers whose length is not what it seems.
func (s *sources) lengths(handle func(string, http.HandlerFunc), video []byte) {
	handle("/10GB", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.FormatInt(10<<30, 10))
		endless(w, r, video)
	})
	handle("/10GB-with-ranges", func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Unix(1, 0), io.NewSectionReader(padded{video}, 0, 10<<30))
	})
	handle("/10GB-in-chunks", func(w http.ResponseWriter, r *http.Request) { endless(w, r, video) })
	handle("/drip", func(w http.ResponseWriter, r *http.Request) {
		for i := 0; r.Context().Err() == nil; i++ {
			_, _ = w.Write(video[i%len(video) : i%len(video)+1])
			_ = http.NewResponseController(w).Flush()
			select {
			case <-time.After(time.Second):
			case <-r.Context().Done():
			}
		}
	})
	handle("/cut", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(video)))
		_, _ = w.Write(video[:len(video)/10*9])
		panic(http.ErrAbortHandler)
	})
	handle("/shorter", hijacked(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(video)+1000, video)))
	handle("/longer", hijacked(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(video)/2, video)))
	handle("/two-lengths", hijacked(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: %d\r\n\r\n%s", len(video), video)))
	handle("/negative", hijacked("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nx"))
	handle("/wrong-range", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes 5-%d/%d", len(video), len(video)*2))
		w.WriteHeader(http.StatusPartialContent)
		_, _ = w.Write(video)
	})
	handle("/no-http", hijacked("SSH-2.0-OpenSSH_9.2\r\n"))
	handle("/headers-without-end", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Bomb", strings.Repeat("x", 1<<20))
	})
	handle("/packed.mp4", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		gzipBomb(w)
	})
	handle("/empty", func(http.ResponseWriter, *http.Request) {})
}

func (s *sources) redirects(handle func(string, http.HandlerFunc)) {
	handle("/to", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", r.URL.Query().Get("url"))
		w.WriteHeader(http.StatusFound)
	})
	handle("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	handle("/further/", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path+"x", http.StatusFound) })
}

func (s *sources) subtitles(handle func(string, http.HandlerFunc), text func(path, body string)) {
	text("/page", "<!DOCTYPE html><html><body>Sign in</body></html>")
	text("/json", `{"error": "expired"}`)
	text("/blank", " \r\n\t\n")
	text("/words", strings.Repeat("these are but words\n", 1000))
	handle("/binary", func(w http.ResponseWriter, _ *http.Request) {
		noise := rand.New(rand.NewPCG(1, 2))
		for range 5000 {
			_ = binary.Write(w, binary.LittleEndian, noise.Uint64())
		}
	})
	handle("/100MB.srt", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(100<<20))
		endless(w, r, []byte(goodSRT))
	})
	handle("/100MB-in-chunks.srt", func(w http.ResponseWriter, r *http.Request) { endless(w, r, []byte(goodSRT)) })
	handle("/packed.srt", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		gzipBomb(w)
	})
	handle("/badly-packed.srt", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		fmt.Fprint(w, "this was never packed")
	})
}

// playlists are lists that lead FFmpeg elsewhere, where it reads them.
func (s *sources) playlists(text func(path, body string)) {
	trip := s.URL + "/tripwire"
	for path, body := range map[string]string{
		"/hls.mp4":      "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n" + trip + "\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
		"/hls-file.mp4": "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:10.0,\nconcat:file:///etc/passwd|" + trip + "\n#EXT-X-ENDLIST\n",
		"/dash.mp4": `<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT1S"><Period><AdaptationSet mimeType="video/mp4">` +
			`<Representation id="1" bandwidth="1" width="160" height="120"><BaseURL>` + trip + `</BaseURL></Representation></AdaptationSet></Period></MPD>`,
		"/ffconcat.mp4": "ffconcat version 1.0\nfile '" + trip + "'\nfile '/etc/passwd'\n",
		"/sdp.mp4":      "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
		"/svg.mp4":      `<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"><image xlink:href="` + trip + `"/></svg>`,
		"/ffmeta.mp4":   ";FFMETADATA1\ntitle=x\n",
		"/lavfi.mp4":    "movie=/etc/passwd",
	} {
		text(path, body)
	}
}

// endless repeats b until the client has gone.
func endless(w http.ResponseWriter, r *http.Request, b []byte) {
	b = bytes.Repeat(b, 1+(64<<10)/len(b))
	for r.Context().Err() == nil {
		if _, err := w.Write(b); err != nil {
			return
		}
	}
}

// padded reads as its bytes with zeros after them.
type padded struct{ b []byte }

func (p padded) ReadAt(b []byte, off int64) (int, error) {
	clear(b)
	if off < int64(len(p.b)) {
		copy(b, p.b[off:])
	}
	return len(b), nil
}

// hijacked answers with bytes as they are.
func hijacked(answer string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, answer)
	}
}

// gzipBomb writes 100 KB that unpack to 100 MB.
func gzipBomb(w io.Writer) {
	z := gzip.NewWriter(w)
	zeros := make([]byte, 1<<20)
	for range 100 {
		if _, err := z.Write(zeros); err != nil {
			return
		}
	}
	_ = z.Close()
}

// makeMedia makes the files that FFmpeg is to choke on.
func makeMedia(t *testing.T, dir string) {
	t.Helper()
	at := func(name string) string { return filepath.Join(dir, name) }
	x264 := []string{"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"}
	make := func(name string, args ...string) { ffmpeg(t, append(args, at(name))...) }
	bars := []string{"-f", "lavfi", "-i", "testsrc2=s=160x120:r=25:d=1"}
	sound := []string{"-f", "lavfi", "-i", "sine=d=1"}
	make("good.mp4", append(append(append(bars, sound...), x264...), "-c:a", "aac")...)
	make("good.ts", append(bars, x264...)...)
	make("sound.mp4", append(sound, "-c:a", "aac")...)
	make("sound.mkv", append(sound, "-c:a", "aac")...)
	make("picture.png", append(bars, "-frames:v", "1")...)
	make("big.mkv", "-f", "lavfi", "-i", "color=gray:s=8192x8192:r=1:d=1", "-frames:v", "1", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
	if err := os.WriteFile(at("s.srt"), []byte(goodSRT), 0o600); err != nil {
		t.Fatal(err)
	}
	make("subtitles.mkv", "-i", at("s.srt"), "-c:s", "srt")
	streams := []string{"-i", at("good.mp4"), "-map", "0:v"}
	for range 999 {
		streams = append(streams, "-map", "0:a")
	}
	make("streams.mkv", append(streams, "-c", "copy")...)

	good := read(t, dir, "good.mp4")
	write := func(name string, b []byte) {
		if err := os.WriteFile(at(name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("truncated.mp4", good[:len(good)/2]) // the index is at its end
	write("picture.mp4", read(t, dir, "picture.png"))
	write("liar.mp4", stretch(good, 143_165))
	write("16k.mp4", widen(good, 16384))
	noise := rand.New(rand.NewPCG(3, 4))
	scrambled := bytes.Clone(good)
	for i := 40; i < len(scrambled); i++ {
		scrambled[i] = byte(noise.Uint32())
	}
	write("scrambled.mp4", scrambled)
	damaged := bytes.Clone(read(t, dir, "good.ts"))
	for i := 600; i < len(damaged); i++ {
		if i%188 > 12 { // the packets stay, what is in them does not
			damaged[i] = byte(noise.Uint32())
		}
	}
	write("damaged.ts", damaged)
	write("zeros.mp4", append([]byte{0, 0, 0, 0x18, 'f', 't', 'y', 'p', 'i', 's', 'o', 'm'}, bytes.Repeat([]byte{0}, 100_000)...))
	boxes := []byte{0, 0, 0, 0x10, 'f', 't', 'y', 'p', 'i', 's', 'o', 'm', 0, 0, 0, 0}
	for range 100_000 { // a box in a box in a box
		boxes = append(boxes, 0xff, 0xff, 0xff, 0xff, 'm', 'o', 'o', 'v')
	}
	write("nested.mp4", boxes)
}

// stretch makes the headers of an MP4 file promise so many seconds.
func stretch(mp4 []byte, seconds uint32) []byte {
	b := bytes.Clone(mp4)
	for _, box := range []string{"mvhd", "mdhd"} { // version, flags, creation, modification, timescale, duration
		for i := range b[:len(b)-24] {
			if string(b[i:i+4]) == box {
				scale := binary.BigEndian.Uint32(b[i+16:])
				binary.BigEndian.PutUint32(b[i+20:], scale*seconds)
			}
		}
	}
	return b
}

// widen makes the headers of an MP4 file promise so many pixels either way.
func widen(mp4 []byte, pixels uint16) []byte {
	b := bytes.Clone(mp4)
	for i := range b[:len(b)-92] {
		switch string(b[i : i+4]) {
		case "avc1": // reserved, index, predefined, reserved; width, height
			binary.BigEndian.PutUint16(b[i+28:], pixels)
			binary.BigEndian.PutUint16(b[i+30:], pixels)
		case "tkhd":
			binary.BigEndian.PutUint32(b[i+80:], uint32(pixels)<<16)
			binary.BigEndian.PutUint32(b[i+84:], uint32(pixels)<<16)
		}
	}
	return b
}

func read(t *testing.T, dir, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
