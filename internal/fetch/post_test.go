package fetch

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
)

// The path and the query arrive byte for byte, in whatever way they are
// written: a signature may cover them.
func TestPostIsVerbatim(t *testing.T) {
	t.Parallel()
	lines := make(chan string, 1)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { // net/http would parse what we want to see
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			line, _ := bufio.NewReader(conn).ReadString('\n')
			lines <- line
			fmt.Fprint(conn, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
			conn.Close()
		}
	}()
	c := newTestClient(t, nil)
	for path, want := range map[string]string{
		"/webhook-waiting/231?signature=0a%2Fb%2b+c==&x": "", "/a|b/%7euser/%2F/;p=1,2?q=|\"<>{}&&=": "", "/a//b/../c/./d?": "",
		"": "/", "?q=1": "/?q=1", "//twice/@host:1": "", "/%zz?%zz": "-", "/a?b#c": "/a?b",
	} {
		status, _, err := c.Post(t.Context(), "http://"+l.Addr().String()+path, http.Header{}, []byte("{}"), 5*time.Second)
		switch {
		case want == "-":
			wantCode(t, err, apigpu.InvalidRequest)
			continue
		case err != nil || status != 204:
			t.Errorf("%s: status %d, %v", path, status, err)
			continue
		case want == "":
			want = path
		}
		if got := <-lines; got != "POST "+want+" HTTP/1.1\r\n" {
			t.Errorf("%s arrived as %q", path, got)
		}
	}
}

func TestPost(t *testing.T) {
	t.Parallel()
	type call struct {
		header http.Header
		body   string
	}
	calls := make(chan call, 1)
	home := serve(t, func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		calls <- call{r.Header, string(raw)}
		w.Header().Set("Retry-After", "7")
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	})
	c := newTestClient(t, nil)
	address := strings.Replace(home, "http://", "http://ann:pa%40ss@", 1)
	status, header, err := c.Post(t.Context(), address, http.Header{"Webhook-Id": {"msg_1"}}, []byte("hello"), 5*time.Second)
	if err != nil || status != http.StatusTemporaryRedirect || header.Get("Retry-After") != "7" {
		t.Fatalf("status %d, header %v, %v", status, header, err)
	}
	got := <-calls
	user, pass, _ := (&http.Request{Header: got.header}).BasicAuth()
	if got.body != "hello" || got.header.Get("Webhook-Id") != "msg_1" || got.header.Get("User-Agent") != "api-gpu" || user != "ann" || pass != "pa@ss" {
		t.Errorf("received %+v", got)
	}
	if len(calls) != 0 {
		t.Error("the redirect was followed")
	}
}

func TestPostFails(t *testing.T) {
	t.Parallel()
	hanging := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // only then a leaving client is noticed
		<-r.Context().Done()
	})
	c := newTestClient(t, nil)
	for name, x := range map[string]struct {
		address, says string
		code          apigpu.Code
	}{
		"it hangs":        {hanging, "did not answer in time", apigpu.SourceUnreachable},
		"nobody is there": {"http://127.0.0.1:1", "refused the connection", apigpu.SourceUnreachable},
		"it is private":   {"http://10.1.2.3", "private network", apigpu.BlockedAddress},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := c.Post(t.Context(), x.address+"/s3cret?s3cret", http.Header{}, nil, 50*time.Millisecond)
			e := wantCode(t, err, x.code)
			if !strings.Contains(e.Message, x.says) || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestCheckHost(t *testing.T) {
	t.Parallel()
	c := newTestClient(t, func(o *Options) { o.AllowHosts = []string{"n8n", "127.0.0.1:5678"} })
	for address, want := range map[string]struct {
		code  apigpu.Code
		local bool
	}{
		"https://hook.example/x": {"", false}, "http://n8n:5678/": {"", false}, "http://127.0.0.1:5678/": {"", true}, "http://93.184.216.34/": {"", false},
		"http://[2606:4700::1111]/": {"", false}, "http://localhostess/": {"", false},
		"http://127.0.0.1:80/": {apigpu.BlockedAddress, true}, "http://localhost:5678/hook": {apigpu.BlockedAddress, true},
		"http://LOCALHOST./": {apigpu.BlockedAddress, true}, "http://n8n.localhost/": {apigpu.BlockedAddress, true}, "http://[::1]/": {apigpu.BlockedAddress, true},
		"http://0.0.0.0/": {apigpu.BlockedAddress, true}, "http://[::ffff:127.0.0.1]/": {apigpu.BlockedAddress, true},
		"http://192.168.1.9/": {apigpu.BlockedAddress, false}, "http://169.254.169.254/": {apigpu.BlockedAddress, false}, "http://[fd00::1]/": {apigpu.BlockedAddress, false},
		"http://2130706433/": {apigpu.BlockedAddress, false}, "http:///x": {apigpu.InvalidRequest, false},
	} {
		if err := c.CheckHost(address); apigpu.CodeOf(err) != want.code {
			t.Errorf("%s: %v, want %q", address, err, want.code)
		}
		if got := Local(address); got != want.local {
			t.Errorf("%s is local: %v", address, got)
		}
	}
}
