package fetch

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
)

// raw answers with bytes as they are, piece after piece until the client has
// gone where endless is not empty.
func raw(answer, endless string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		_, err = io.WriteString(conn, answer)
		for err == nil && endless != "" {
			_, err = io.WriteString(conn, endless)
		}
	}
}

// Answers that are no HTTP, or whose header lies or has no end: each ends as
// the source's fault, and the rest of the film is never made up.
func TestRawAnswers(t *testing.T) {
	t.Parallel()
	film := string(video(10_000))
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		want    apigpu.Code // "" for success
		length  int
	}{
		"no HTTP":               {raw("SSH-2.0-OpenSSH\r\n", ""), apigpu.SourceUnreachable, 0},
		"nothing":               {raw("", ""), apigpu.SourceUnreachable, 0},
		"half a header":         {raw("HTTP/1.1 200 OK\r\nContent-Le", ""), apigpu.SourceUnreachable, 0},
		"a header without end":  {raw("HTTP/1.1 200 OK\r\n", "X-A: "+strings.Repeat("b", 1000)+"\r\n"), apigpu.SourceUnreachable, 0},
		"a line without end":    {raw("HTTP/1.1 200 OK\r\nX-A: ", strings.Repeat("b", 1000)), apigpu.SourceUnreachable, 0},
		"1xx without end":       {raw("", "HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"), apigpu.SourceUnreachable, 0},
		"a status that is none": {raw("HTTP/1.1 999999 OK\r\n\r\n"+film, ""), apigpu.SourceUnreachable, 0},
		"shorter than it says":  {raw("HTTP/1.1 200 OK\r\nContent-Length: 10001\r\n\r\n"+film, ""), apigpu.SourceUnreachable, 0},
		"longer than it says":   {raw("HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n"+film, ""), "", 9000},
		"two lengths":           {raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\nContent-Length: 10000\r\n\r\n"+film, ""), apigpu.SourceUnreachable, 0},
		"a negative length":     {raw("HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"+film, ""), apigpu.SourceUnreachable, 0},
		"a length beyond all":   {raw("HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775807\r\n\r\n"+film, ""), apigpu.TooLarge, 0},
		"a chunk that is cut":   {raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n"+film, ""), apigpu.SourceUnreachable, 0},
		"a chunk of no size":    {raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"+film, ""), apigpu.SourceUnreachable, 0},
		"a body without end":    {raw("HTTP/1.1 200 OK\r\n\r\n"+film, film), apigpu.TooLarge, 0},
		"a redirect to itself":  {raw("HTTP/1.1 302 Found\r\nLocation: ?\r\nContent-Length: 0\r\n\r\n", ""), apigpu.SourceUnreachable, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			home := serve(t, c.handler)
			f := newFile(t, nil)
			_, err := newTestClient(t, nil).File(t.Context(), home, nil, f, 1<<20, nil)
			if apigpu.CodeOf(err) != c.want {
				t.Errorf("got %v, want code %q", err, c.want)
			}
			if err == nil && len(contentOf(t, f)) != c.length {
				t.Errorf("%d bytes, want %d", len(contentOf(t, f)), c.length)
			}
		})
	}
}
