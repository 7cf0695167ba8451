package test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/api-gpu/api-gpu/test/need"
)

// release runs scripts/release.sh of this checkout.
func release(t *testing.T, env []string, args ...string) (string, error) {
	t.Helper()
	script := exec.CommandContext(t.Context(), "bash", append([]string{"scripts/release.sh"}, args...)...)
	script.Dir = root
	script.Env = append(os.Environ(), env...)
	out, err := script.CombinedOutput()
	return string(out), err
}

func TestReleaseNotes(t *testing.T) {
	t.Parallel()
	need.Program(t, "bash")
	want := read(t, "CHANGELOG.md")
	_, want, _ = strings.Cut(want, "## [Unreleased]\n\n")
	want, _, _ = strings.Cut(want, "\n## ")
	for _, version := range []string{"vUnreleased", "v9999.0.0-rc.1"} { // what is tried is what is not released yet
		got, err := release(t, nil, "--notes", version)
		if err != nil || strings.TrimSpace(got) != strings.TrimSpace(want) {
			t.Errorf("%s: %v\n%s", version, err, cmp.Diff(want, got))
		}
	}
	if out, err := release(t, nil, "--notes", "v9999.0.0"); err == nil || !strings.Contains(out, "## [9999.0.0]") {
		t.Errorf("a version that the changelog lacks: %v, %s", err, out)
	}
	for _, version := range []string{"0.1.0", "v0.1", "v0.1.0-3-g2fc6950", "main"} {
		if out, err := release(t, []string{"DIST=" + t.TempDir()}, version); err == nil || !strings.Contains(out, "is no version") {
			t.Errorf("%s: %v, %s", version, err, out)
		}
	}
}

// A release is built twice, and is the same to the byte. The client stands for
// all programs: the others take minutes to compile. Without the list of what is
// linked in, whose maker is fetched from the network.
func TestRelease(t *testing.T) {
	need.Long(t)
	checkout := t.TempDir()
	copyTree(t, checkout)
	changes := []byte("# Changelog\n\n## [1.2.3] - 2026-01-02\n\n- What is new.\n\n## [1.2.2]\n\n- What was.\n")
	if err := os.WriteFile(filepath.Join(checkout, "CHANGELOG.md"), changes, 0o600); err != nil {
		t.Fatal(err)
	}
	var sums []string
	for range 2 {
		script := exec.CommandContext(t.Context(), "bash", "scripts/release.sh", "v1.2.3")
		script.Dir = checkout
		script.Env = append(os.Environ(), "SBOM=0", "SOURCE_DATE_EPOCH=1767312000", "PLATFORMS=linux/amd64:api-gpu windows/amd64:api-gpu")
		if out, err := script.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		text, err := os.ReadFile(filepath.Join(checkout, "dist", "SHA256SUMS"))
		if err != nil {
			t.Fatal(err)
		}
		sums = append(sums, string(text))
	}
	if sums[0] != sums[1] {
		t.Errorf("built twice, it is not the same: %s", cmp.Diff(sums[0], sums[1]))
	}
	if notes, err := os.ReadFile(filepath.Join(checkout, "dist", "NOTES.md")); err != nil || strings.TrimSpace(string(notes)) != "- What is new." {
		t.Errorf("%v: notes %q", err, notes)
	}
	for system, program := range map[string]string{"linux": "api-gpu", "windows": "api-gpu.exe"} {
		name := "api-gpu-v1.2.3-" + system + "-amd64"
		archive, err := os.ReadFile(filepath.Join(checkout, "dist", name+".tar.gz"))
		if err != nil {
			t.Fatal(err)
		}
		if line := fmt.Sprintf("%x  %s.tar.gz\n", sha256.Sum256(archive), name); !strings.Contains(sums[0], line) {
			t.Errorf("SHA256SUMS lacks %s", line)
		}
		want := []string{"CHANGELOG.md", "LICENSE", "NOTICES-go.txt", "README.md", program}
		if system == "linux" { // where servers run
			want = append([]string{".env.example"}, want...)
		}
		if got := members(t, archive, name); !slices.Equal(got, want) {
			t.Errorf("%s holds %q, want %q", name, got, want)
		}
	}
}

// members are the files in an archive, all in the folder of that name.
func members(t *testing.T, archive []byte, folder string) (names []string) {
	t.Helper()
	unzipped, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	for files := tar.NewReader(unzipped); ; {
		file, err := files.Next()
		if errors.Is(err, io.EOF) {
			slices.Sort(names)
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		name, inside := strings.CutPrefix(file.Name, folder+"/")
		if !inside {
			t.Errorf("%s lies outside of %s", file.Name, folder)
		}
		if file.Typeflag == tar.TypeReg {
			names = append(names, name)
		}
	}
}

// copyTree copies what of the repository is built from, so that another
// changelog can be put beside it.
func copyTree(t *testing.T, to string) {
	t.Helper()
	walk(t, func(name string) {
		if strings.HasSuffix(name, "_test.go") || strings.HasPrefix(name, "tools/") {
			return
		}
		info, err := os.Stat(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		target := filepath.Join(to, name)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(target, []byte(read(t, name)), info.Mode().Perm()); err != nil {
			t.Fatal(err)
		}
	})
}

// Workflows may do no more than they say, and take actions by their major
// version, which .github/dependabot.yml moves. What they say is checked by
// actionlint (make lint).
func TestWorkflows(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(root, ".github", "workflows", "*.yml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no workflows: %v", err)
	}
	uses := regexp.MustCompile(`uses: +(\S+)`)
	pinned := regexp.MustCompile(`^[a-z]+/[a-z-]+@(v\d+|[0-9a-f]{40})$`)
	for _, file := range files {
		name, err := filepath.Rel(root, file)
		if err != nil {
			t.Fatal(err)
		}
		text := read(t, name)
		if !strings.Contains(text, "\npermissions:\n  contents: read\n") {
			t.Errorf("%s does not begin with the right to read only", name)
		}
		for _, m := range uses.FindAllStringSubmatch(text, -1) {
			if own, ok := strings.CutPrefix(m[1], "./"); ok {
				if _, err := os.Stat(filepath.Join(root, own)); err != nil {
					t.Errorf("%s uses %s, which is not there", name, m[1])
				}
			} else if !pinned.MatchString(m[1]) {
				t.Errorf("%s uses %s", name, m[1])
			}
		}
		if strings.Contains(text, `tags: ["v*"]`) && !strings.Contains(text, "uses: ./.github/workflows/test.yml\n") {
			t.Errorf("%s publishes a tag that nobody tested", name)
		}
		if strings.Contains(text, "pull_request_target") {
			t.Errorf("%s gives strangers' code our rights", name)
		}
	}
}
