// Command testsum reads the output of go test -json and prints what a person
// wants of it: a line for each package, the whole output of each test that
// failed, what was skipped and why, and last how many passed and failed.
//
//	go test -json ./... | testsum
//
// It exits 1 when a test or a package failed.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

func main() {
	passed, err := summarize(os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testsum:", err)
		os.Exit(2)
	}
	if !passed {
		os.Exit(1)
	}
}

// event is a line of go test -json (go doc test2json), as far as it is read.
type event struct {
	Action      string
	Package     string
	ImportPath  string // of build output
	Test        string
	Elapsed     float64
	Output      string
	FailedBuild string
}

// maxLine bounds one line of the stream, in bytes: a test may print much.
const maxLine = 16 << 20

// summary is what was seen so far.
type summary struct {
	out                     io.Writer
	output                  map[string]*strings.Builder // by package and test
	passed, failed, skipped int
	why                     []string        // tests that were skipped, each with its reason
	broken                  map[string]bool // packages of which a test failed
}

// summarize prints the stream's meaning to out and reports whether everything
// passed.
func summarize(in io.Reader, out io.Writer) (bool, error) {
	s := summary{out: out, output: map[string]*strings.Builder{}, broken: map[string]bool{}}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			fmt.Fprintln(out, lines.Text()) // not an event: words of the go command
			continue
		}
		s.take(e)
	}
	if err := lines.Err(); err != nil {
		return false, err
	}
	for _, line := range s.why {
		fmt.Fprintln(out, line)
	}
	fmt.Fprintf(out, "%d skipped\n%d passed, %d failed\n", s.skipped, s.passed, s.failed)
	return s.failed == 0 && s.passed > 0, nil
}

func (s *summary) take(e event) {
	if e.Action == "output" || e.Action == "build-output" {
		s.of(e).WriteString(e.Output)
		return
	}
	if e.Test == "" {
		s.takePackage(e)
		return
	}
	switch e.Action {
	case "pass":
		s.passed++
		for line := range strings.Lines(s.of(e).String()) {
			if _, what, ok := strings.Cut(line, "counted: "); ok {
				fmt.Fprintf(s.out, "      %s %s: %s", short(e.Package), e.Test, what)
			}
		}
	case "skip":
		s.skipped++
		s.why = append(s.why, fmt.Sprintf("skipped: %s %s: %s", short(e.Package), e.Test, reason(s.of(e).String())))
	case "fail":
		s.failed++
		s.broken[e.Package] = true
		s.show(s.of(e))
	default:
		return
	}
	delete(s.output, key(e))
}

// takePackage prints the end of a package. A package whose tests all passed
// may still fail: it did not build, or it crashed.
func (s *summary) takePackage(e event) {
	took := time.Duration(e.Elapsed * float64(time.Second)).Round(10 * time.Millisecond)
	switch e.Action {
	case "pass":
		cached := ""
		if strings.Contains(s.of(e).String(), "(cached)") {
			cached = " (cached)"
		}
		fmt.Fprintf(s.out, "ok    %s %s%s\n", short(e.Package), took, cached)
	case "fail":
		if b := s.output[e.FailedBuild]; b != nil && e.FailedBuild != "" {
			s.show(b)
		}
		if !s.broken[e.Package] {
			s.failed++
			for name, b := range s.output { // a crash leaves tests without an end
				if strings.HasPrefix(name, e.Package+" ") {
					s.show(b)
				}
			}
		}
		fmt.Fprintf(s.out, "FAIL  %s %s\n", short(e.Package), took)
	}
}

// show prints output without the lines that say when each test ran.
func (s *summary) show(b *strings.Builder) {
	for line := range strings.Lines(b.String()) {
		if !strings.HasPrefix(line, "=== ") {
			fmt.Fprint(s.out, line)
		}
	}
}

func (s *summary) of(e event) *strings.Builder {
	b := s.output[key(e)]
	if b == nil {
		b = &strings.Builder{}
		s.output[key(e)] = b
	}
	return b
}

func key(e event) string {
	if e.Package == "" {
		return e.ImportPath
	}
	return e.Package + " " + e.Test
}

// reason is the last line that a skipped test printed itself.
func reason(output string) string {
	why := "no reason given"
	for line := range strings.Lines(output) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "---") && !strings.HasPrefix(line, "===") {
			why = line
		}
	}
	return why
}

func short(pkg string) string {
	return strings.TrimPrefix(strings.TrimPrefix(pkg, "github.com/api-gpu/api-gpu"), "/")
}
