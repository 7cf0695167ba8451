// Package stories runs the programs as people do: each script in testdata is
// a story, and the commands of the README are run as they are written.
package stories

import (
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/api-gpu/api-gpu/test/need"
)

const root = "../.."

func TestStories(t *testing.T) {
	need.Long(t)
	need.FFmpeg(t)
	need.Program(t, "bash")
	need.Program(t, "curl")
	if runtime.GOOS != "linux" {
		t.Skip("needs Linux: leftovers are looked for in /proc")
	}
	repository, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	bin := build(t)
	samples := t.TempDir()
	makeSamples(t, samples)
	files := httptest.NewServer(http.FileServer(http.Dir(samples)))
	t.Cleanup(files.Close)
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", bin+string(os.PathListSeparator)+env.Getenv("PATH"))
			env.Setenv("FILES", files.URL)
			env.Setenv("ROOT", repository)
			for _, name := range []string{"video.mp4", "captions.srt"} {
				if err := copyFile(filepath.Join(samples, name), filepath.Join(env.WorkDir, name)); err != nil {
					return err
				}
			}
			env.Defer(func() { // the last: all programs have ended
				if left := leftovers(env.WorkDir); len(left) > 0 {
					env.T().Fatal("left behind: ", left)
				}
			})
			return nil
		},
		Cmds: withDocuments(t, map[string]func(*testscript.TestScript, bool, []string){
			"serve":  serve,
			"work":   work,
			"market": market,
			"hook":   hook(),
			"stop":   stop,
			"panel":  panel,
		}),
	})
}

// documents are those whose commands are run, by the command of a story that
// runs one.
var documents = map[string]string{
	"readme": "README.md", "recipe": "docs/recipes/curl.md", "quickstart": "docs/QUICKSTART.md", "easypanel": "docs/DEPLOY_EASYPANEL.md",
	"operations": "docs/OPERATIONS.md", "costs": "docs/COSTS.md", "plan": "docs/FROM_THE_PLAN.md",
	"captions": "docs/CAPTIONS.md",
}

// withDocuments adds the commands that run what the documents show.
func withDocuments(t *testing.T, commands map[string]func(*testscript.TestScript, bool, []string)) map[string]func(*testscript.TestScript, bool, []string) {
	t.Helper()
	for command, file := range documents {
		commands[command] = document(file, blocks(t, file))
	}
	return commands
}

// TestDocumentedCommandsAreRun fails where a document shows a command as run
// that no story runs, or a story runs one that is gone.
func TestDocumentedCommandsAreRun(t *testing.T) {
	t.Parallel()
	scripts, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no story: %v", err)
	}
	run := map[string]map[string]bool{}
	names := make([]string, 0, len(documents))
	for command := range documents {
		run[command] = map[string]bool{}
		names = append(names, command)
	}
	command := regexp.MustCompile(`(?m)^(?:! )?(` + strings.Join(names, "|") + `) (\S+)`)
	for _, script := range scripts {
		text, err := os.ReadFile(script)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range command.FindAllSubmatch(text, -1) {
			run[string(m[1])][string(m[2])] = true
		}
	}
	for command, file := range documents {
		shown := slices.Sorted(maps.Keys(blocks(t, file)))
		if got := slices.Sorted(maps.Keys(run[command])); !slices.Equal(got, shown) {
			t.Errorf("the stories run %q, %s shows %q", got, file, shown)
		}
	}
}

// blocks returns the shell blocks of a document that stories run, by the name in
// the comment before each. That all others say what runs them is checked in
// package test.
func blocks(t *testing.T, file string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, m := range regexp.MustCompile("(?s)<!-- run: (\\w+) -->\n```sh\n(.*?)```").FindAllSubmatch(text, -1) {
		name := string(m[1])
		if found[name] != "" {
			t.Errorf("%s has two blocks named %s", file, name)
		}
		found[name] = string(m[2])
	}
	return found
}

// build builds the programs as make does, so that both share what is
// compiled.
func build(t *testing.T) string {
	t.Helper()
	// The go command remembers results of tests by the files that they looked
	// at. What it compiles for us is not among those, so we look.
	err := filepath.WalkDir(root, func(_ string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && slices.Contains([]string{".git", "bin", "data", "demo"}, entry.Name()) {
			return filepath.SkipDir
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := need.Programs(t.Context(), bin, "", "orchestrator", "worker", "api-gpu", "vastsim"); err != nil {
		t.Fatal(err)
	}
	return bin
}

// makeSamples makes a video of two seconds with sound, and subtitles.
func makeSamples(t *testing.T, dir string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error",
		"-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25:duration=2", "-f", "lavfi", "-i", "sine=duration=2",
		"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac", filepath.Join(dir, "video.mp4"))
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("make a video: %v\n%s", err, out)
	}
	const subtitles = "1\n00:00:00,200 --> 00:00:01,800\nOlá! Você não está só.\n"
	if err := os.WriteFile(filepath.Join(dir, "captions.srt"), []byte(subtitles), 0o600); err != nil {
		t.Fatal(err)
	}
}

func copyFile(from, to string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, content, 0o600)
}
