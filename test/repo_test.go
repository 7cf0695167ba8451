package test

import (
	"context"
	"go/ast"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Most lines that a function and a file may have, outside of tests. What
// grows past usually holds two ideas.
const (
	maxFunction = 70
	maxFile     = 500
)

// tooLong lists functions and files that may be longer, each with its reason.
var tooLong = map[string]string{}

func TestLengths(t *testing.T) {
	t.Parallel()
	for _, f := range sources(t) {
		if f.isTest() {
			continue
		}
		if n := strings.Count(f.text, "\n"); n > maxFile && tooLong[f.path] == "" {
			t.Errorf("%s has %d lines, %d are allowed", f.path, n, maxFile)
		}
		for _, decl := range f.ast.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			from, to := f.fset.Position(fn.Pos()), f.fset.Position(fn.End())
			if n := to.Line - from.Line + 1; n > maxFunction && tooLong[f.path+":"+fn.Name.Name] == "" {
				t.Errorf("%s: %s has %d lines, %d are allowed", from, fn.Name.Name, n, maxFunction)
			}
		}
	}
}

// TestProgramsSync finds a program that would not sync its database: the row
// that comes before a rental must outlive a power cut.
func TestProgramsSync(t *testing.T) {
	t.Parallel()
	for _, f := range sources(t) {
		if strings.Contains(f.text, "NoSync:") && !f.isTest() && !helpers[f.pkg] {
			t.Errorf("%s opens a database without sync", f.path)
		}
	}
}

// TestNothingIsPutOff finds marks of unfinished work: those belong into an
// issue, with a reason.
func TestNothingIsPutOff(t *testing.T) {
	t.Parallel()
	mark := regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`)
	walk(t, func(name string) {
		if where := mark.FindString(read(t, name)); where != "" {
			t.Errorf("%s says %s", name, where)
		}
	})
}

// printed keeps what commands of the orchestrator print, for the tests that ask
// for the same.
var printed sync.Map

// linking is held by the one that runs: the next finds in Go's cache what it has
// linked.
var linking sync.Mutex

// orchestrator returns what a command of the orchestrator prints.
func orchestrator(t *testing.T, command string) string {
	t.Helper()
	once, _ := printed.LoadOrStore(command, sync.OnceValues(func() (string, error) {
		linking.Lock()
		defer linking.Unlock()
		// Not until the end of the test that happens to be the first.
		print := exec.CommandContext(context.WithoutCancel(t.Context()), "go", "run", "-buildvcs=false", "./cmd/orchestrator", command)
		print.Dir = root
		print.Env = append(os.Environ(), "CGO_ENABLED=0") // as make build: shares its cache
		out, err := print.Output()
		return string(out), err
	}))
	text, err := once.(func() (string, error))()
	if err != nil {
		t.Fatalf("orchestrator %s: %v", command, err)
	}
	return text
}

func TestSettingsAreDocumented(t *testing.T) {
	t.Parallel()
	table := orchestrator(t, "config") // made from the struct that it reads its settings into
	shown := between(t, read(t, "README.md"), "<!-- settings -->\n", "<!-- /settings -->")
	if diff := cmp.Diff(table, shown); diff != "" {
		t.Errorf("README.md shows other settings than the program has: run make docs (-program +README)\n%s", diff)
	}
	var want, got []string
	for line := range strings.Lines(table) {
		if cells := strings.Split(line, "|"); len(cells) > 2 {
			want = append(want, variable.FindAllString(cells[1], -1)...)
		}
	}
	for line := range strings.Lines(read(t, ".env.example")) {
		if name, value, ok := strings.Cut(line, "="); ok && !strings.HasPrefix(line, "#") {
			got = append(got, name)
			if strings.TrimSpace(value) != "" {
				t.Errorf(".env.example sets %s: leave it empty, so that the default stays in one place", name)
			}
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf(".env.example names other variables than the program reads (-program +file)\n%s", diff)
	}
}

var variable = regexp.MustCompile(`[A-Z][A-Z0-9_]+`)

func between(t *testing.T, text, from, to string) string {
	t.Helper()
	_, text, begun := strings.Cut(text, from)
	text, _, ended := strings.Cut(text, to)
	if !begun || !ended {
		t.Fatalf("no text between %q and %q", from, to)
	}
	return text
}

// documents are the files that users read.
func documents(t *testing.T) []string {
	t.Helper()
	var names []string
	walk(t, func(name string) {
		if strings.HasSuffix(name, ".md") {
			names = append(names, name)
		}
	})
	return names
}

// TestMakeTargets holds the documents against the Makefile, and the Makefile
// against its own list.
func TestMakeTargets(t *testing.T) {
	t.Parallel()
	makefile := read(t, "Makefile")
	targets := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^([a-z][a-z-]*):(.*)$`).FindAllStringSubmatch(makefile, -1) {
		targets[m[1]] = true
		if !strings.Contains(m[2], "## ") {
			t.Errorf("make help does not show %s", m[1])
		}
		if !strings.Contains(makefile, ".PHONY: "+m[1]+"\n") {
			t.Errorf("%s is not phony: a file of that name would hide it", m[1])
		}
	}
	// In a code block or between back quotes; "make sure" is English.
	mention := regexp.MustCompile("(?m)(?:^|`|&& |\\| )make ([a-z][a-z-]+)")
	for _, name := range documents(t) {
		for _, m := range mention.FindAllStringSubmatch(read(t, name), -1) {
			if !targets[m[1]] {
				t.Errorf("%s names make %s, which does not exist", name, m[1])
			}
		}
	}
	for _, name := range []string{
		"setup", "demo", "test", "check", "build", "build-orchestrator", "build-worker", "dev-orchestrator", "dev-worker",
		"docker-build-orchestrator", "docker-build-worker", "docker-push-worker", "bench", "load", "soak", "help",
	} {
		if !targets[name] {
			t.Errorf("there is no make %s", name)
		}
	}
}

// TestDocumentLinks follows the links between the files of the repository.
func TestDocumentLinks(t *testing.T) {
	t.Parallel()
	link := regexp.MustCompile(`\]\(([^)#\s]+)(?:#[^)]*)?\)`)
	for _, name := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(read(t, name), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			target := filepath.Join(root, filepath.Dir(name), filepath.FromSlash(m[1]))
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s, which is not there", name, m[1])
			}
		}
	}
}
