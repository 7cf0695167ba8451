// Package need says what a test needs of the machine, and names what it had
// to skip. Where STRICT=1 (make test, CI) a need that is not met fails the
// test, unless skips.txt beside this file allows it.
package need

import (
	"bytes"
	"context"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	_ "embed"
)

// Slack multiplies a bound on time that holds on an idle machine, for tests that
// share two cores with others and run under the race detector.
const Slack = 4

// FFmpeg skips the test unless ffmpeg and ffprobe are installed.
func FFmpeg(t testing.TB) {
	t.Helper()
	for _, program := range []string{"ffmpeg", "ffprobe"} {
		if _, err := exec.LookPath(program); err != nil {
			missing(t, program)
		}
	}
}

// Program skips the test unless the program is installed.
func Program(t testing.TB, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		missing(t, name)
	}
}

// Postgres skips the test unless the server programs of PostgreSQL are
// installed, and returns their folder. Debian keeps them out of PATH.
func Postgres(t testing.TB) (dir string) {
	t.Helper()
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path)
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		missing(t, "postgresql")
	}
	return filepath.Dir(found[len(found)-1])
}

// Fonts skips the test unless the fonts of the worker's image are installed.
func Fonts(t testing.TB) {
	t.Helper()
	for file, name := range map[string]string{
		"NotoSans-Bold.ttf": "fonts-noto-core", "NotoSansCJK-Bold.ttc": "fonts-noto-cjk",
		"NotoColorEmoji.ttf": "fonts-noto-color-emoji", "Symbola*.?tf": "fonts-symbola",
	} {
		if found, _ := filepath.Glob("/usr/share/fonts/*/*/" + file); len(found) == 0 {
			missing(t, name)
		}
	}
}

// Wonder is a font that nobody has installed, of the family Wonder Type: DejaVu
// Sans under another name. It has no Thai.
func Wonder(t testing.TB) []byte {
	t.Helper()
	Fonts(t)
	b, err := os.ReadFile("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf")
	if err != nil {
		missing(t, "fonts-dejavu-core")
	}
	wide := func(s string) []byte { return []byte("\x00" + strings.Join(strings.Split(s, ""), "\x00")) }
	b = bytes.ReplaceAll(b, wide("DejaVu Sans"), wide("Wonder Type"))
	return bytes.ReplaceAll(b, []byte("DejaVu Sans"), []byte("Wonder Type"))
}

// Docker skips the test unless a Docker engine answers.
func Docker(t testing.TB) {
	t.Helper()
	docker := os.Getenv("DOCKER")
	if docker == "" {
		docker = "docker"
	}
	ctx, cancel := context.WithTimeout(t.Context(), dockerTimeout)
	defer cancel()
	if err := exec.CommandContext(ctx, docker, "info").Run(); err != nil {
		unmet(t, "docker-engine", "a Docker engine that answers: start one, or set DOCKER_HOST")
	}
}

// dockerTimeout is more than an engine takes that is there.
const dockerTimeout = 20 * time.Second

// Long skips the test unless STRICT=1: it takes too long for the inner loop.
func Long(t testing.TB) {
	t.Helper()
	if os.Getenv("STRICT") != "1" {
		t.Skip("takes long: run make test")
	}
}

// Parallel lets n tests of a package run at once, where the command line does
// not say how many: for those that mostly wait. TestMain calls it.
func Parallel(n int) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		_ = f.Value.Set(strconv.Itoa(n))
	}
}

//go:embed skips.txt
var allowed string

func missing(t testing.TB, what string) {
	t.Helper()
	unmet(t, what, what+", which is not installed: run make setup")
}

// unmet skips the test for want of what skips.txt may list by name.
func unmet(t testing.TB, name, needs string) {
	t.Helper()
	if os.Getenv("STRICT") == "1" && !listed(name) {
		t.Fatalf("needs %s", needs)
	}
	t.Skipf("needs %s", needs)
}

func listed(what string) bool {
	for line := range strings.Lines(allowed) {
		if strings.TrimSpace(line) == what {
			return true
		}
	}
	return false
}

// Samples skips the test unless SAMPLES names a folder of real files from other
// projects, which are not ours to publish, and returns one of its parts.
func Samples(t testing.TB, part string) (dir string) {
	t.Helper()
	root := os.Getenv("SAMPLES")
	if root == "" {
		unmet(t, "samples", "real files of other projects: SAMPLES names their folder")
	}
	dir = filepath.Join(root, part)
	if _, err := os.Stat(dir); err != nil {
		unmet(t, "samples", "real files of other projects, which are not where SAMPLES says")
	}
	return dir
}
