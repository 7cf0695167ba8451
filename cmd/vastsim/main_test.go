package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/api-gpu/api-gpu/internal/vastsim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cleanEnv makes the test see no setting of the machine it runs on.
func cleanEnv(t *testing.T) {
	t.Helper()
	for _, name := range []string{"VASTSIM_PORT", "VASTSIM_KEY", "VASTSIM_WORKER", "VASTSIM_CREDIT", "VASTSIM_SCENARIO", "LOG_LEVEL"} {
		t.Setenv(name, "")
	}
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "scenario.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// It says where it is and with which key, in the form of an .env file, and
// what it said is true.
func TestServe(t *testing.T) {
	cleanEnv(t)
	self, err := os.Executable() // any program will do: none is started
	if err != nil {
		t.Fatal(err)
	}
	scenario := write(t, `{"instances":[],"boots":[{"fails":"never","times":-1}],"spend_limit_usd":3}`)
	hear, say := io.Pipe()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, []string{"--port=0", "--worker=" + self, "--credit=7", "--scenario=" + scenario}, say, io.Discard)
	}()
	lines := bufio.NewReader(hear)
	value := func(name string) string {
		line, err := lines.ReadString('\n')
		v, found := strings.CutPrefix(line, name+"=")
		if err != nil || !found {
			t.Fatalf("it says %q, %v", line, err)
		}
		return strings.TrimSpace(v)
	}
	url, key := value("VAST_API_URL"), value("VAST_API_KEY")
	req, err := http.NewRequestWithContext(t.Context(), "GET", url+"/api/v0/users/current/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	var user struct{ Credit float64 }
	if err := json.NewDecoder(resp.Body).Decode(&user); err != nil || resp.StatusCode != 200 || user.Credit != 7 {
		t.Errorf("%s: %+v, %v", resp.Status, user, err)
	}
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestDoesNotStart(t *testing.T) {
	cleanEnv(t)
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no worker":        {[]string{"--worker=/missing"}, "VASTSIM_WORKER"},
		"no scenario":      {[]string{"--worker=none", "--scenario=/missing"}, "VASTSIM_SCENARIO"},
		"a bad scenario":   {[]string{"--worker=none", "--scenario=" + write(t, `{"creditt":1}`)}, "VASTSIM_SCENARIO"},
		"an unknown fault": {[]string{"--worker=none", "--scenario=" + write(t, `{"faults":[{"kind":"x"}]}`)}, "not known"},
		"a port too far":   {[]string{"--worker=none", "--port=99999"}, "VASTSIM_PORT"},
	} {
		if err := run(t.Context(), c.args, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMachines(t *testing.T) {
	t.Parallel()
	c := serveCmd{Worker: "none"}
	m, cleanUp, err := c.machines()
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := m.(*vastsim.Scripted); !ok {
		t.Errorf("machines are %T", m)
	}
	if err := cleanUp(); err != nil {
		t.Error(err)
	}
}
