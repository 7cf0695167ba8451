package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// imageUser is the user of our images. Root runs the program as that user; others
// as themselves.
const imageUser = 10001

// TestStateThatMayNotBeWritten has folders and files that belong to somebody
// else, as a folder of the host does that is mounted into a container. The start
// fails in one line that says what to do, and the doctor says the same.
func TestStateThatMayNotBeWritten(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	okay(t, os.Chmod(filepath.Dir(home), 0o755)) // the other user must get in
	program := filepath.Join(home, "orchestrator")
	text, err := os.ReadFile(filepath.Join(bin, "orchestrator"))
	okay(t, err)
	okay(t, os.WriteFile(program, text, 0o755))
	user := os.Getuid()
	if user == 0 {
		user = imageUser
	}
	// made makes a folder of the user's, with a folder or a file in it that the
	// user may not write to.
	made := func(dir, foreign string) string {
		okay(t, os.MkdirAll(filepath.Join(dir, "data"), 0o755))
		okay(t, os.Chown(filepath.Join(dir, "data"), user, -1))
		if path := filepath.Join(dir, foreign); strings.HasSuffix(path, ".db") {
			okay(t, os.WriteFile(path, nil, 0o444))
		} else {
			okay(t, os.MkdirAll(path, 0o755))
			okay(t, os.Chown(path, os.Getuid(), -1))
			okay(t, os.Chmod(path, 0o555))
		}
		return dir
	}
	for name, c := range map[string]struct{ foreign, setting, folder string }{
		"all":      {"data", "DATABASE_URL", "data"},
		"database": {"data/api-gpu.db", "DATABASE_URL", "data"},
		"results":  {"data/files", "STORAGE_URL", "data/files"},
	} {
		dir := made(filepath.Join(home, name), c.foreign)
		want := fmt.Sprintf("%s: user %d may not write to %s: give it that folder with chown -R %[2]d:", c.setting, user, filepath.Join(dir, c.folder))
		for _, args := range [][]string{{"serve"}, {"doctor"}} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, program, args...)
			cmd.Dir = dir
			cmd.Env = []string{"PROVIDER=static", "WORKER_URL=http://127.0.0.1:1", "HOST=127.0.0.1", "PORT=0", "LOG_LEVEL=error"}
			if os.Getuid() == 0 {
				cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: imageUser, Gid: imageUser}}
			}
			out, err := cmd.CombinedOutput()
			if err == nil || ctx.Err() != nil || !strings.Contains(string(out), want) {
				t.Errorf("%s: %s: %v: %s; want %s", name, args[0], err, out, want)
			}
			if args[0] == "serve" && strings.Count(string(out), "\n") != 1 {
				t.Errorf("%s: it says more than that: %s", name, out)
			}
		}
	}
}

func okay(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
