package stories

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// Bounds of what a story waits for.
const (
	startTimeout = 30 * time.Second
	stopTimeout  = 60 * time.Second
	hookTimeout  = 60 * time.Second
	lookGap      = 20 * time.Millisecond
)

// listening is the line that both programs log when they can be reached: as
// text, or as JSON in production.
var listening = regexp.MustCompile(`(?:msg=listening address=|"msg":"listening","address":")([^\s"]+)`)

// sold is what a marketplace prints when it can be reached.
var sold = regexp.MustCompile(`VAST_API_URL=(\S+)\nVAST_API_KEY=(\S+)\n`)

// serve NAME=VALUE… starts an orchestrator on a free port and sets $API. Its
// settings are those, over defaults that suit a story.
func serve(ts *testscript.TestScript, neg bool, settings []string) {
	if neg {
		ts.Fatalf("usage: serve [NAME=VALUE…]")
	}
	defaults := []string{
		"HOST=127.0.0.1", "PORT=0", "PROVIDER=local", "SHUTDOWN=destroy", "ALLOW_PRIVATE_HOSTS=127.0.0.1", "DISK_FREE_MIN=64MiB",
	}
	start(ts, "orchestrator", "API", append(defaults, settings...))
}

// panel NAME=VALUE… starts an orchestrator with the environment that
// docs/easypanel.json hands over, as the panel would fill it in: video.example.com
// is the primary domain, and what the story says is typed in by hand.
func panel(ts *testscript.TestScript, neg bool, settings []string) {
	if neg {
		ts.Fatalf("usage: panel [NAME=VALUE…]")
	}
	var schema struct {
		Services []struct{ Data struct{ Env string } }
	}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(filepath.Join(ts.Getenv("ROOT"), "docs/easypanel.json"))), &schema))
	env := strings.ReplaceAll(schema.Services[0].Data.Env, "$(PRIMARY_DOMAIN)", "video.example.com")
	start(ts, "orchestrator", "API", append(strings.Split(env, "\n"), settings...))
}

// stop NAME… stops programs that the story started, the last of each name, as a
// service manager does.
func stop(ts *testscript.TestScript, neg bool, names []string) {
	if neg || len(names) == 0 {
		ts.Fatalf("usage: stop NAME…")
	}
	for _, name := range names {
		ended, known := running.LoadAndDelete(ts.MkAbs(name))
		if !known {
			ts.Fatalf("no %s was started", name)
		}
		ended.(func())()
	}
}

// running holds how to end what stories started, by a story's folder and the
// program's name.
var running sync.Map

// work NAME=VALUE… starts a worker on a free port and sets $WORKER.
func work(ts *testscript.TestScript, neg bool, settings []string) {
	if neg {
		ts.Fatalf("usage: work [NAME=VALUE…]")
	}
	start(ts, "worker", "WORKER", append([]string{"HOST=127.0.0.1", "PORT=0"}, settings...))
}

// market starts a simulated Vast.ai on a free port, whose machines are workers,
// and sets $VAST_API_URL and $VAST_API_KEY, as it prints them.
func market(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: market")
	}
	bin, _, _ := strings.Cut(ts.Getenv("PATH"), string(os.PathListSeparator))
	printed := spawn(ts, "vastsim", sold, []string{"VASTSIM_PORT=0", "VASTSIM_WORKER=" + filepath.Join(bin, "worker")})
	ts.Setenv("VAST_API_URL", printed[1])
	ts.Setenv("VAST_API_KEY", printed[2])
}

// start spawns a program and puts the address where it listens into the
// variable.
func start(ts *testscript.TestScript, name, variable string, settings []string) {
	ts.Setenv(variable, "http://"+spawn(ts, name, listening, settings)[1])
}

// spawn runs a program in the story's folder until the story ends, and returns
// what matches in its output as soon as something does.
func spawn(ts *testscript.TestScript, name string, ready *regexp.Regexp, settings []string) []string {
	dir := ts.MkAbs(".")
	log := filepath.Join(dir, name+".log")
	output, err := os.Create(log)
	ts.Check(err)
	defer output.Close()
	bin, _, _ := strings.Cut(ts.Getenv("PATH"), string(os.PathListSeparator))
	command := exec.Command(filepath.Join(bin, name))
	command.Dir, command.Stdout, command.Stderr = dir, output, output
	command.Env = append([]string{"PATH=" + ts.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir}, settings...)
	ts.Check(command.Start())
	ended := make(chan struct{})
	go func() {
		_ = command.Wait() // the log says why, where that matters
		close(ended)
	}()
	ending := sync.OnceFunc(func() { end(ts, command, ended) })
	running.Store(filepath.Join(dir, name), ending)
	ts.Defer(ending)

	timeout := time.After(startTimeout)
	for {
		if m := ready.FindStringSubmatch(ts.ReadFile(log)); m != nil {
			return m
		}
		select {
		case <-ended:
			ts.Fatalf("%s ended:\n%s", name, ts.ReadFile(log))
		case <-timeout:
			ts.Fatalf("%s does not listen:\n%s", name, ts.ReadFile(log))
		case <-time.After(lookGap):
		}
	}
}

// hook starts a receiver of webhooks and sets $HOOKS. It answers its first
// call 409, as n8n does when it is not ready. hook wait waits for the call
// after that, and leaves it as a receiver would have it: its headers in $id,
// $timestamp and $signature, its body in body.json.
func hook() func(*testscript.TestScript, bool, []string) {
	type call struct {
		uri    string
		header http.Header
		body   []byte
	}
	stories := map[string]chan call{} // by address
	var mu sync.Mutex
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if len(args) > 0 {
			mu.Lock()
			calls := stories[ts.Getenv("HOOKS")]
			mu.Unlock()
			select {
			case c := <-calls:
				ts.Check(os.WriteFile(ts.MkAbs("body.json"), c.body, 0o600))
				for variable, value := range map[string]string{
					"id": c.header.Get("webhook-id"), "timestamp": c.header.Get("webhook-timestamp"),
					"signature": c.header.Get("webhook-signature"), "uri": c.uri,
				} {
					ts.Setenv(variable, value)
				}
			case <-time.After(hookTimeout):
				ts.Fatalf("nobody called")
			}
			return
		}
		calls := make(chan call, 10)
		var early atomic.Bool
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if early.CompareAndSwap(false, true) {
				w.WriteHeader(http.StatusConflict)
				return
			}
			body, _ := io.ReadAll(r.Body)
			calls <- call{r.URL.RequestURI(), r.Header, body}
			fmt.Fprint(w, "Accepted")
		}))
		ts.Defer(server.Close)
		ts.Setenv("HOOKS", server.URL)
		mu.Lock()
		defer mu.Unlock()
		stories[server.URL] = calls
	}
}

// end stops a program as a service manager does.
func end(ts *testscript.TestScript, command *exec.Cmd, ended <-chan struct{}) {
	_ = command.Process.Signal(syscall.SIGTERM) // it may have ended already
	select {
	case <-ended:
	case <-time.After(stopTimeout):
		_ = command.Process.Kill()
		ts.Fatalf("%s does not stop", filepath.Base(command.Path))
	}
}

// leftovers names the processes that a story leaves behind: all that it
// started have its folder in their environment.
func leftovers(dir string) (left []string) {
	environs, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range environs {
		environ, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(environ, []byte(dir)) {
			continue // another's, or gone by now
		}
		if command, err := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline")); err == nil && len(command) > 0 {
			left = append(left, string(bytes.ReplaceAll(command, []byte{0}, []byte{' '})))
		}
	}
	return left
}

// document returns the command NAME of a story that runs a block of this
// document as it is written, but for the addresses in it: the story's server
// stands for localhost:3000, its files for example.com, and what it hooks for
// hooks.example.com; programs are looked for in PATH, and on the server's port.
// What a block leaves in $job the next one finds.
func document(file string, blocks map[string]string) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if len(args) != 1 || blocks[args[0]] == "" {
			ts.Fatalf("want the NAME of a block in %s", file)
		}
		block := strings.NewReplacer(
			"http://localhost:3000", ts.Getenv("API"), "https://video.example.com", ts.Getenv("API"),
			"https://example.com", ts.Getenv("FILES"), "https://hooks.example.com", ts.Getenv("HOOKS"),
			"bin/orchestrator", "orchestrator", "bin/api-gpu", "api-gpu",
		).Replace(blocks[args[0]])
		script := "set -eu\nif [ -n \"${API-}\" ]; then export PORT=${API##*:}; fi\njob=$(cat .job 2>/dev/null || true)\n" + block + "\necho \"$job\" >.job\n"
		err := ts.Exec("bash", "-c", script)
		if (err != nil) != neg {
			ts.Fatalf("%s of %s: error %v", args[0], file, err)
		}
		ts.Setenv("job", strings.TrimSpace(ts.ReadFile(".job")))
	}
}
