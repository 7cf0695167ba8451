package test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// instruction is one of a Dockerfile, its continued lines joined.
type instruction struct{ name, args string }

func dockerfile(t *testing.T, name string) []instruction {
	t.Helper()
	var list []instruction
	joined := ""
	for line := range strings.Lines(read(t, name)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if rest, more := strings.CutSuffix(line, `\`); more {
			joined += rest + " "
			continue
		}
		word, args, _ := strings.Cut(strings.TrimSpace(joined+line), " ")
		list = append(list, instruction{strings.ToUpper(word), strings.TrimSpace(args)})
		joined = ""
	}
	return list
}

// of returns the arguments of every instruction of that name.
func of(list []instruction, name string) (args []string) {
	for _, i := range list {
		if i.name == name {
			args = append(args, i.args)
		}
	}
	return args
}

func TestDockerfiles(t *testing.T) {
	t.Parallel()
	for name, program := range map[string]string{
		"docker/orchestrator.Dockerfile": "orchestrator", "docker/worker.Dockerfile": "worker",
	} {
		list := dockerfile(t, name)
		stages := of(list, "FROM")
		if want := []string{"golang:1.26-bookworm AS build", "debian:bookworm-slim"}; !slices.Equal(stages, want) {
			t.Errorf("%s: stages %q, want %q", name, stages, want)
		}
		if entry := of(list, "ENTRYPOINT"); len(entry) != 1 || entry[0] != `["`+program+`"]` {
			t.Errorf("%s: entry point %q", name, entry)
		}
		if user := of(list, "USER"); len(user) != 1 || user[0] == "root" || strings.HasPrefix(user[0], "0") {
			t.Errorf("%s runs as %q", name, user)
		}
		if added := of(list, "ADD"); len(added) > 0 {
			t.Errorf("%s: ADD fetches and unpacks; use COPY: %q", name, added)
		}
		for _, args := range append(of(list, "ENV"), of(list, "ARG")...) {
			if regexp.MustCompile(`(?i)(KEY|TOKEN|SECRET|PASSWORD|SEED)\w*\s*=`).MatchString(args) {
				t.Errorf("%s: a secret would stay in the image: %s", name, args)
			}
		}
		if run := strings.Join(of(list, "RUN"), "\n"); !strings.Contains(run, "CGO_ENABLED=0") || !strings.Contains(run, "./cmd/"+program) {
			t.Errorf("%s does not build a static %s", name, program)
		}
		checkCopies(t, name, of(list, "COPY"))
	}
	orchestrator := dockerfile(t, "docker/orchestrator.Dockerfile")
	if got := of(orchestrator, "HEALTHCHECK"); len(got) != 1 || !strings.HasSuffix(got[0], `CMD ["orchestrator", "health"]`) {
		t.Errorf("health check %q", got)
	}
	if got := of(orchestrator, "VOLUME"); len(got) > 0 {
		t.Errorf("VOLUME makes a nameless volume where a mount was forgotten, and hides it: %q", got)
	}
}

// checkCopies looks whether what is copied from the checkout is there, and
// that the ignore file lets nothing through but source.
func checkCopies(t *testing.T, name string, copies []string) {
	t.Helper()
	for _, args := range copies {
		fields := strings.Fields(args)
		if strings.HasPrefix(fields[0], "--from=") {
			continue
		}
		for _, source := range fields[:len(fields)-1] {
			if _, err := os.Stat(filepath.Join(root, source)); err != nil {
				t.Errorf("%s copies %s, which is not there", name, source)
			}
		}
	}
	ignored := read(t, ".dockerignore")
	if !strings.Contains(ignored, "\n*\n") {
		t.Error(".dockerignore does not begin with everything: a .env or data would get into images")
	}
	for line := range strings.Lines(ignored) {
		line = strings.TrimSpace(line)
		if dir, ok := strings.CutPrefix(line, "!"); ok && !strings.Contains(dir, "*") {
			if _, err := os.Stat(filepath.Join(root, dir)); err != nil {
				t.Errorf(".dockerignore lets %s through, which is not there", dir)
			}
		}
	}
}
