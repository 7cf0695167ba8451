// Package images builds the images with a Docker engine, where there is one, and
// runs the programs in them.
package images

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu/test/need"
)

const root = "../.."

// TestImages is make docker-test. What it needs of the network is said in
// scripts/images.sh.
func TestImages(t *testing.T) {
	need.Long(t)
	need.Docker(t)
	script := exec.CommandContext(t.Context(), "scripts/images.sh")
	script.Dir = root
	script.Stdout, script.Stderr = os.Stderr, os.Stderr
	// It removes what it made, if it is asked to end.
	script.Cancel = func() error { return script.Process.Signal(syscall.SIGTERM) }
	script.WaitDelay = time.Minute
	if err := script.Run(); err != nil {
		t.Fatalf("scripts/images.sh: %v", err)
	}
}

// Without an engine the script says so, and is no failure.
func TestNoEngine(t *testing.T) {
	t.Parallel()
	dir, temp := t.TempDir(), t.TempDir()
	docker := filepath.Join(dir, "docker")
	if err := os.WriteFile(docker, []byte("#!/bin/sh\necho no engine >&2\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	script := exec.CommandContext(t.Context(), "scripts/images.sh")
	script.Dir = root
	script.Env = append(os.Environ(), "DOCKER="+docker, "TMPDIR="+temp)
	out, err := script.CombinedOutput()
	if want := "images: no Docker engine can be reached: nothing was built or run (docker-engine in test/need/skips.txt)\n"; err != nil || string(out) != want {
		t.Errorf("%v: %s", err, out)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("%v: it leaves %v behind", err, left)
	}
}
