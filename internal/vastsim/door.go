package vastsim

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// loopback is where everything listens, and nowhere else.
const loopback = "127.0.0.1"

// door is an external port of an instance: it forwards connections to the
// port that the worker tells in a file, and counts the bytes.
type door struct {
	listener net.Listener
	file     string
	// down and up are bytes into the instance, and out of it.
	down, up atomic.Int64
	serving  sync.WaitGroup

	mu     sync.Mutex
	closed bool
	cut    bool
	passed time.Time // when the first connection passed
	open   map[net.Conn]bool
}

func openDoor(file string) (*door, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(loopback, "0"))
	if err != nil {
		return nil, fmt.Errorf("open external port: %w", err)
	}
	d := &door{listener: l, file: file, open: map[net.Conn]bool{}}
	d.serving.Go(d.accept)
	return d, nil
}

func (d *door) port() int { return d.listener.Addr().(*net.TCPAddr).Port }

func (d *door) accept() {
	for {
		from, err := d.listener.Accept()
		if err != nil {
			return
		}
		d.serving.Go(func() { d.forward(from) })
	}
}

// forward carries a connection to the worker. While there is none it is cut,
// as by a container that listens to nothing.
func (d *door) forward(from net.Conn) {
	defer from.Close()
	port, err := os.ReadFile(d.file)
	if err != nil {
		return
	}
	to, err := net.Dial("tcp", net.JoinHostPort(loopback, strings.TrimSpace(string(port))))
	if err != nil {
		return
	}
	defer to.Close()
	if !d.enter(from, to) {
		return
	}
	defer d.leave(from, to)
	var up sync.WaitGroup
	up.Go(func() { carry(from, to, &d.up) })
	carry(to, from, &d.down)
	up.Wait()
}

// carry copies until the end of one direction, and passes that end on.
func carry(to, from net.Conn, count *atomic.Int64) {
	_, err := io.Copy(to, counter{from, count})
	if half, ok := to.(*net.TCPConn); ok && err == nil {
		_ = half.CloseWrite()
		return
	}
	to.Close()
	from.Close()
}

// counter counts what is read.
type counter struct {
	io.Reader
	count *atomic.Int64
}

func (c counter) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.count.Add(int64(n))
	return n, err
}

// enter notes open connections, unless the door is shut.
func (d *door) enter(conns ...net.Conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || d.cut {
		return false
	}
	for _, c := range conns {
		d.open[c] = true
	}
	if d.passed.IsZero() {
		d.passed = time.Now()
	}
	return true
}

// first is when the first connection passed; zero before.
func (d *door) first() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.passed
}

func (d *door) leave(conns ...net.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range conns {
		delete(d.open, c)
	}
}

// reach cuts all connections and lets no new one through, or ends that.
func (d *door) reach(on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cut = !on
	if !on {
		d.cutAll()
	}
}

func (d *door) cutAll() {
	for c := range d.open {
		c.Close()
	}
}

// close shuts the door and waits until nothing passes any more.
func (d *door) close() {
	d.listener.Close()
	d.mu.Lock()
	d.closed = true
	d.cutAll()
	d.mu.Unlock()
	d.serving.Wait()
}
