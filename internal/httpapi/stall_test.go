package httpapi

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"
)

func TestUnstalled(t *testing.T) {
	t.Parallel()
	const idle = 300 * time.Millisecond
	ended := make(chan error, 1)
	s := httptest.NewServer(unstalled(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refuse" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, err := io.Copy(io.Discard, r.Body)
		if err == nil && r.URL.Path == "/wait" { // long after the body has ended
			select {
			case <-time.After(3 * idle):
			case <-r.Context().Done():
				err = r.Context().Err()
			}
		}
		ended <- err
	}), idle))
	t.Cleanup(s.Close)
	dial := func(head string) net.Conn {
		conn, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "%s\r\nHost: x\r\n", head)
		return conn
	}

	conn := dial("POST / HTTP/1.1") // a body that stops
	fmt.Fprint(conn, "Content-Length: 100\r\n\r\nsome")
	if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a body that stops ended with %v", err)
	}

	conn = dial("POST / HTTP/1.1") // a slow one takes longer than idle in all, and is fine
	fmt.Fprint(conn, "Content-Length: 8\r\n\r\n")
	for range 8 {
		time.Sleep(idle / 5)
		fmt.Fprint(conn, "x")
	}
	if err := <-ended; err != nil {
		t.Errorf("a slow body ended with %v", err)
	}

	conn = dial("POST /wait HTTP/1.1") // the deadline ends with the body
	fmt.Fprint(conn, "Content-Length: 4\r\n\r\nbody")
	if err := <-ended; err != nil {
		t.Errorf("a request that waits ended with %v", err)
	}

	conn = dial("POST /refuse HTTP/1.1") // a body that nobody reads holds nothing
	fmt.Fprint(conn, "Content-Length: 100\r\n\r\n")
	if _, err := io.Copy(io.Discard, bufio.NewReader(conn)); err != nil {
		t.Errorf("the connection of a refused request stays open: %v", err)
	}
}
