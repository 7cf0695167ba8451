package httpapi

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// stallServer serves with the given limit on a silent body, and returns how to
// open a connection with a request's head and how each request's body ended.
func stallServer(t *testing.T, idle time.Duration) (open func(head string) net.Conn, ended <-chan error) {
	t.Helper()
	ends := make(chan error, 1)
	keys, err := ParseKeys("secret")
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refuse" {
			keys.Require(nil).ServeHTTP(w, r)
			return
		}
		if r.URL.Path == "/answer" {
			ends <- longAnswer(w, r, idle)
			return
		}
		if pause, ok := strings.CutPrefix(r.URL.Path, "/after/"); ok {
			d, err := time.ParseDuration(pause)
			if err != nil {
				t.Error(err)
			}
			time.Sleep(d)
		}
		_, err := io.Copy(io.Discard, r.Body)
		if err == nil && r.URL.Path == "/wait" { // long after the body has ended
			select {
			case <-time.After(3 * idle):
			case <-r.Context().Done():
				err = r.Context().Err()
			}
		}
		ends <- err
	}), idle, slog.New(slog.DiscardHandler))
	l := &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
	served := make(chan struct{})
	go func() { defer close(served); _ = s.Serve(l) }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		<-served
	})
	return func(head string) net.Conn {
		near, far := net.Pipe()
		l.conns <- far
		t.Cleanup(func() { near.Close() })
		fmt.Fprintf(near, "%s\r\nHost: x\r\n", head)
		return near
	}, ends
}

func TestUnstalled(t *testing.T) {
	const idle = 30 * time.Second
	t.Run("a body that stops is given up", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			open, ended := stallServer(t, idle)
			began := time.Now()
			fmt.Fprint(open("POST / HTTP/1.1"), "Content-Length: 100\r\n\r\nsome")
			if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("it ended with %v", err)
			}
			if took := time.Since(began); took != idle {
				t.Errorf("it was given up after %s, want %s", took, idle)
			}
		})
	})
	for name, c := range map[string]struct {
		pieces, size int
		handler      time.Duration // what the handler does before it reads
		want         error
	}{
		"a slow body takes longer than idle in all, and is fine": {8, leastBody, 0, nil},
		"a byte now and then is not enough":                      {8, 1, 0, os.ErrDeadlineExceeded},
		"a slow handler is not the client's fault":               {1, 8, 3 * idle, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				open, ended := stallServer(t, idle)
				conn := open(fmt.Sprintf("POST /after/%s HTTP/1.1", c.handler))
				fmt.Fprintf(conn, "Content-Length: %d\r\n\r\n", c.pieces*c.size)
				for range c.pieces {
					time.Sleep(idle - time.Second)
					conn.Write(bytes.Repeat([]byte("x"), c.size)) // fails where it was given up
				}
				if err := <-ended; !errors.Is(err, c.want) {
					t.Errorf("it ended with %v, want %v", err, c.want)
				}
			})
		})
	}
	t.Run("the deadline ends with the body", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			open, ended := stallServer(t, idle)
			conn := open("POST /wait HTTP/1.1")
			fmt.Fprint(conn, "Content-Length: 4\r\n\r\nbody")
			if err := <-ended; err != nil {
				t.Errorf("it ended with %v", err)
			}
		})
	})
	for _, length := range []string{"100", "2000000000"} {
		t.Run("a stranger's body of "+length+" bytes is not waited for", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				open, _ := stallServer(t, idle)
				conn := open("POST /refuse HTTP/1.1")
				fmt.Fprintf(conn, "Content-Length: %s\r\n\r\n", length)
				began := time.Now()
				res, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil || res.StatusCode != http.StatusUnauthorized {
					t.Fatalf("%+v, %v", res, err)
				}
				if took := time.Since(began); took > time.Second {
					t.Errorf("it was answered after %s", took)
				}
				if _, err := io.Copy(io.Discard, conn); err != nil {
					t.Errorf("its connection ended with %v", err)
				}
				if took := time.Since(began); took > 10*time.Second {
					t.Errorf("its connection was held for %s", took)
				}
			})
		})
	}
}

// longAnswer writes what the query asks for: a file, or pieces with silence
// between them.
func longAnswer(w http.ResponseWriter, r *http.Request, silence time.Duration) error {
	if r.URL.Query().Has("file") {
		_, err := io.Copy(w, io.LimitReader(zeros{}, 4*answerPiece))
		return err
	}
	for range 3 {
		if _, err := fmt.Fprintln(w, "here"); err != nil {
			return err
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			return err
		}
		time.Sleep(5 * answerIdle)
	}
	return nil
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestStalledAnswers(t *testing.T) {
	t.Run("a client that stops reading is given up", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			open, ended := stallServer(t, time.Minute)
			conn := open("GET /answer?file HTTP/1.1")
			fmt.Fprint(conn, "\r\n")
			if _, err := io.ReadFull(conn, make([]byte, 100_000)); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("it ended with %v", err)
			}
			if took := time.Since(began); took > answerIdle {
				t.Errorf("it was given up after %s", took)
			}
		})
	})
	t.Run("a slow reader takes longer than idle in all, and gets everything", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			open, ended := stallServer(t, time.Minute)
			conn := open("GET /answer?file HTTP/1.1")
			fmt.Fprint(conn, "Connection: close\r\n\r\n")
			got := make(chan int64)
			go func() {
				n := int64(0)
				for buf := make([]byte, answerPiece/4); ; time.Sleep(answerIdle / 8) {
					read, err := io.ReadFull(conn, buf)
					if n += int64(read); err != nil {
						break
					}
				}
				got <- n
			}()
			if err := <-ended; err != nil {
				t.Errorf("it ended with %v", err)
			}
			if n := <-got; n < 4*answerPiece {
				t.Errorf("%d bytes came", n)
			}
		})
	})
	t.Run("silence between pieces is no stall, nor is it after a request", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			open, ended := stallServer(t, time.Minute)
			conn := open("GET /answer HTTP/1.1")
			fmt.Fprint(conn, "\r\n")
			body := bufio.NewReader(conn)
			for range 2 {
				res, err := http.ReadResponse(body, nil)
				if err != nil {
					t.Fatal(err)
				}
				text, err := io.ReadAll(res.Body)
				if err != nil || len(text) != len("here\n")*3 {
					t.Errorf("%q, %v", text, err)
				}
				if err := <-ended; err != nil {
					t.Errorf("it ended with %v", err)
				}
				time.Sleep(answerIdle + time.Second) // the deadline of the first answer has passed
				fmt.Fprint(conn, "GET /answer HTTP/1.1\r\nHost: x\r\n\r\n")
			}
		})
	})
}

func TestBounded(t *testing.T) {
	t.Parallel()
	watch, near := bounded(1), make([]net.Conn, 2)
	for i := range near {
		var far net.Conn
		near[i], far = net.Pipe()
		defer near[i].Close()
		defer far.Close()
		watch(far, http.StateNew)
	}
	open := func(c net.Conn) bool {
		_ = c.SetDeadline(time.Unix(1, 0))
		_, err := c.Read(make([]byte, 1))
		return errors.Is(err, os.ErrDeadlineExceeded)
	}
	if !open(near[0]) || open(near[1]) {
		t.Error("the first is closed, or the second is open")
	}
	watch(nil, http.StateClosed)
	watch(nil, http.StateClosed)
	third, far := net.Pipe()
	defer third.Close()
	defer far.Close()
	if watch(far, http.StateNew); !open(third) {
		t.Error("what was closed is still counted")
	}
}
