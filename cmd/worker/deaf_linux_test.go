package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/api-gpu/api-gpu/test/need"
)

// A machine whose log nobody reads any more, as when the daemon of its
// containers hangs: the pipe is full, and whoever writes to it stands still.
// The lease ends all the same, and the machine with it.
//
// (The first process logged straight to the pipe once, and stood still before it
// had asked for anything.)
func TestRentedLogNotRead(t *testing.T) {
	t.Parallel()
	need.Long(t)
	m := newMarket(t, yes, gone)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	defer write.Close()
	fill(t, write)
	dir := t.TempDir()
	cmd := exec.Command(self)
	cmd.Env = []string{
		asProgram + "=1", "PATH=" + os.Getenv("PATH"), "TMPDIR=" + dir, "HOME=" + os.Getenv("HOME"), "PORT=0", "WORK_DIR=" + filepath.Join(dir, "work"),
		"CONTAINER_ID=" + containerID, "CONTAINER_API_KEY=" + containerKey, "VAST_API_URL=" + m.URL, "BOOT_TIMEOUT=0s", "LEASE=1s",
	}
	cmd.Stdout, cmd.Stderr = write, write // Start makes it a pipe that blocks
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	for end := time.Now().Add(30 * time.Second); len(m.seen()) == 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the machine does not end itself")
		}
	}
	if got := m.seen()[0]; got != theDelete {
		t.Errorf("it asks for %s", got)
	}
}

// fill writes to a pipe until nothing more fits.
func fill(t *testing.T, pipe *os.File) {
	t.Helper()
	raw, err := pipe.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) {
		for full := false; !full; {
			_, err := unix.Write(int(fd), make([]byte, 1)) // os.Pipe does not block
			full = errors.Is(err, unix.EAGAIN)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}
