package ffmpeg

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu/test/need"
)

// An encoder must not outlive its worker: this process, started again as a
// worker, is killed, and its child's end is seen as the end of a pipe that
// only the child holds.
func TestChildDiesWithItsParent(t *testing.T) {
	const env = "FFMPEG_TEST_WORKER"
	if dir := os.Getenv(env); dir != "" {
		_, err := Tools{FFmpeg: filepath.Join(dir, "ffmpeg"), Launcher: Self}.Run(t.Context(), Render{Dir: dir})
		t.Fatalf("the worker ended by itself: %v", err)
	}
	need.Program(t, "sh")
	t.Parallel()
	dir := t.TempDir()
	fifo := filepath.Join(dir, "alive")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ffmpeg"), []byte("#!/bin/sh\nexec > alive\necho here\nexec sleep 60\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	worker := exec.CommandContext(t.Context(), self, "-test.run=^TestChildDiesWithItsParent$")
	worker.Env = append(os.Environ(), env+"="+dir)
	if err := worker.Start(); err != nil {
		t.Fatal(err)
	}
	alive, err := os.OpenFile(fifo, os.O_RDWR, 0) // both ends, so that opening waits for nobody
	if err != nil {
		t.Fatal(err)
	}
	defer alive.Close()
	if _, err := io.ReadFull(alive, make([]byte, len("here\n"))); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(fifo, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	// The child has spoken, so it holds its end: now it is the only one.
	if err := worker.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = worker.Wait()
	alive.Close()
	_ = reader.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := reader.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the child lives on: %v", err)
	}
}
