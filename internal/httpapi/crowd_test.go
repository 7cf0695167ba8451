package httpapi

import (
	"bufio"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu/test/need"
)

// crowd opens many event streams of one job and returns their connections,
// each with its first event read.
func crowd(t *testing.T, address, id string, size int) []*bufio.Reader {
	t.Helper()
	streams := make([]*bufio.Reader, size)
	var all sync.WaitGroup
	for i := range streams {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		fmt.Fprintf(conn, "GET /jobs/%s/events HTTP/1.1\r\nHost: x\r\nX-API-Key: b0b\r\n\r\n", id)
		streams[i] = bufio.NewReader(conn)
		all.Go(func() { readUntil(t, streams[i], `"status":"queued"`) })
	}
	all.Wait()
	return streams
}

func readUntil(t *testing.T, r *bufio.Reader, what string) {
	for {
		line, err := r.ReadString('\n')
		if strings.Contains(line, what) {
			return
		}
		if err != nil {
			t.Errorf("no %s: %v", what, err)
			return
		}
	}
}

// Many clients may watch at once, all hear the end, and whoever hangs up holds
// nothing.
func TestCrowd(t *testing.T) {
	need.Long(t)
	t.Parallel()
	const size = 1000
	w := newWorld(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(w, time.Minute, slog.New(slog.DiscardHandler))
	served := make(chan struct{})
	go func() { defer close(served); _ = s.Serve(l) }()
	defer func() { _ = s.Close(); <-served }()
	heldNow := func() int {
		w.held.mu.Lock()
		defer w.held.mu.Unlock()
		return w.held.all
	}
	id := w.submit(t)
	streams := crowd(t, l.Addr().String(), id, size)
	if n := heldNow(); n != size {
		t.Errorf("%d streams are held, want %d", n, size)
	}
	w.jobs.finish(id, "video")
	for _, r := range streams {
		readUntil(t, r, `"status":"succeeded"`)
	}
	left := func(what string) {
		for deadline := time.Now().Add(time.Minute); heldNow() > 0; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: %d streams are still held", what, heldNow())
			}
		}
	}
	left("after the end")
	t.Run("clients that hang up", func(t *testing.T) {
		id = w.submit(t)
		crowd(t, l.Addr().String(), id, size/10)
	}) // its end closes them
	left("after they hung up")
}

// A stream too many is told so, and a wait too many is answered at once.
func TestTooManyHeld(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.submit(t)
	w.held.all = maxHeld
	if p := problem(t, w.do("GET", "/jobs/"+id+"/events", ""), "unavailable"); p.RetryAfter == 0 {
		t.Errorf("%+v", p)
	}
	if res := w.do("GET", "/jobs/"+id+"?wait=600", ""); res.StatusCode != 202 {
		t.Errorf("a wait: %s", res.Status)
	}
}
