//go:build crashpoints

package crash

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
)

// armed is what the file at said last.
var armed struct {
	sync.Mutex
	at     string
	passed int
}

// Point is a moment at which a test may kill this program.
func Point(name string) {
	dir := os.Getenv("CRASH_DIR")
	if dir == "" {
		return
	}
	armed.Lock()
	defer armed.Unlock()
	trace(dir, name)
	at := filepath.Join(dir, "at")
	text, err := os.ReadFile(at)
	if wanted := strings.TrimSpace(string(text)); err != nil || wanted != armed.at {
		armed.at, armed.passed = wanted, 0
	}
	wanted, nth, repeated := strings.Cut(armed.at, "#")
	if wanted != name || err != nil {
		return
	}
	armed.passed++
	if n, err := strconv.Atoi(nth); repeated && (err != nil || n != armed.passed) {
		return
	}
	// Once, although the next process may pass here too.
	if os.Remove(at) != nil {
		return
	}
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Kill()
	}
	if err != nil {
		panic(err)
	}
	select {} // nothing goes on until it is dead
}

func trace(dir, name string) {
	file, err := os.OpenFile(filepath.Join(dir, "trace"), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err == nil {
		_, err = fmt.Fprintln(file, name)
		err = firstOf(err, file.Close())
	}
	if err != nil {
		panic(err) // a point that is not recorded would never be tried
	}
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// helpers are the functions through which others write: no names of a write.
var helpers = regexp.MustCompile(`^(write|change|changeOn|fenced|fencedTelling|update|updateIf|save|ends|background)$`)

// closure is what the compiler adds to the name of a function within another.
var closure = regexp.MustCompile(`(\.func\d+|\.\d+|\.gowrap\d+)+$`)

// Write is Point for a write of many callers: it is named after the function
// that asked for it, and a step of the write.
func Write(step string) {
	callers := make([]uintptr, 32)
	frames := runtime.CallersFrames(callers[:runtime.Callers(2, callers)])
	own := ""
	for more := true; more; {
		var frame runtime.Frame
		frame, more = frames.Next()
		// github.com/api-gpu/api-gpu/internal/queue.(*Queue).Claim.func1
		name := closure.ReplaceAllString(frame.Function[strings.LastIndexByte(frame.Function, '/')+1:], "")
		pkg, _, _ := strings.Cut(name, ".")
		function := name[strings.LastIndexByte(name, '.')+1:]
		if own == "" {
			own = pkg // whose write it is: others ask for it
		}
		if pkg != own && !helpers.MatchString(function) {
			Point(pkg + "." + function + "." + step)
			return
		}
	}
}
