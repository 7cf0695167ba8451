package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
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

// bases are the images that ours are built from, by the arguments that name
// them.
var bases = map[string]string{
	"GO_IMAGE": "golang:1.26-bookworm", "DEBIAN_IMAGE": "debian:bookworm-slim", "BUSYBOX_IMAGE": "busybox:1.37",
}

// BuildKit's own checks run in tools/dockerlint.
func TestDockerfiles(t *testing.T) {
	t.Parallel()
	for name, program := range map[string]string{
		"docker/orchestrator.Dockerfile": "orchestrator", "docker/worker.Dockerfile": "worker",
	} {
		list := dockerfile(t, name)
		for _, arg := range of(list, "ARG") {
			base, image, _ := strings.Cut(arg, "=")
			if strings.HasSuffix(base, "_IMAGE") && base != "WORKER_IMAGE" && bases[base] != image {
				t.Errorf("%s is built from %s, not from %s", name, image, bases[base])
			}
		}
		if entry := of(list, "ENTRYPOINT"); len(entry) != 1 || entry[0] != `["`+program+`"]` {
			t.Errorf("%s: entry point %q", name, entry)
		}
		checkUser(t, name, list)
		if added := of(list, "ADD"); len(added) > 0 {
			t.Errorf("%s: ADD fetches and unpacks; use COPY: %q", name, added)
		}
		if volumes := of(list, "VOLUME"); len(volumes) > 0 {
			t.Errorf("%s: VOLUME makes a nameless volume where a mount was forgotten, and hides it: %q", name, volumes)
		}
		for _, args := range append(of(list, "ENV"), of(list, "ARG")...) {
			if regexp.MustCompile(`(?i)(KEY|TOKEN|SECRET|PASSWORD|SEED)\w*\s*=`).MatchString(args) {
				t.Errorf("%s: a secret would stay in the image: %s", name, args)
			}
		}
		run := strings.Join(of(list, "RUN"), "\n")
		for _, want := range []string{"CGO_ENABLED=0", "./cmd/" + program, "notices.sh go ./cmd/" + program, "notices.sh debian"} {
			if !strings.Contains(run, want) {
				t.Errorf("%s does not run %s", name, want)
			}
		}
		checkCopies(t, name, of(list, "COPY"))
	}
	health := of(dockerfile(t, "docker/orchestrator.Dockerfile"), "HEALTHCHECK")
	if len(health) != 1 || !strings.HasSuffix(health[0], `CMD ["orchestrator", "health"]`) {
		t.Errorf("health check %q", health)
	}
	if env := strings.Join(of(dockerfile(t, "docker/worker.Dockerfile"), "ENV"), " "); !strings.Contains(env, "NVIDIA_VISIBLE_DEVICES=all") ||
		!strings.Contains(env, "NVIDIA_DRIVER_CAPABILITIES=compute,video,utility") {
		t.Errorf("without these the encoder of video is not in the container: %s", env)
	}
}

// What a program needs and the system lacks ends the build: an image without it
// would fail later, and elsewhere.
func TestClosure(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("copies as on Debian")
	}
	for name, c := range map[string]struct {
		ldd string // what it prints
		ok  bool
	}{
		"all is there":     {"libz.so.1 => LIB (0x1)", true},
		"a library lacks":  {"libz.so.1 => LIB (0x1)\nlibx.so => not found", false},
		"a file that went": {"libz.so.1 => LIB.gone (0x1)", false},
	} {
		dir := t.TempDir()
		file := func(name, text string) string {
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
				t.Fatal(err)
			}
			return path
		}
		program, lib := file("program", "a program"), file("libz.so.1", "a library")
		file("ldd", "#!/bin/sh\nprintf '"+strings.ReplaceAll(c.ldd, "LIB", lib)+"\\n'\n")
		file("dpkg", "#!/bin/sh\necho zlib1g: $2\n")
		to := filepath.Join(dir, "to")
		script := exec.CommandContext(t.Context(), "sh", "docker/closure.sh", to, program)
		script.Dir = root
		script.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
		out, err := script.CombinedOutput()
		if (err == nil) != c.ok {
			t.Errorf("%s: %v: %s", name, err, out)
		}
		if !c.ok {
			continue
		}
		for _, want := range []string{program, lib} {
			if _, err := os.Stat(filepath.Join(to, want)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if packages, err := os.ReadFile(to + ".packages"); err != nil || string(packages) != "zlib1g\n" {
			t.Errorf("%s: packages %q, %v", name, packages, err)
		}
	}
}

// checkUser looks whether every image that has programs says who runs them,
// after the last file that root owns.
func checkUser(t *testing.T, name string, list []instruction) {
	t.Helper()
	users := of(list, "USER")
	labels := 0
	for _, l := range of(list, "LABEL") {
		if strings.Contains(l, "image.version=") {
			labels++
		}
	}
	if len(users) == 0 || len(users) != labels {
		t.Errorf("%s: %d of %d images say who runs them", name, len(users), labels)
	}
	for _, user := range users {
		if user != "10001:10001" {
			t.Errorf("%s runs as %q", name, user)
		}
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
			if found, err := filepath.Glob(filepath.Join(root, source)); err != nil || len(found) == 0 {
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
