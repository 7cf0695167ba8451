package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/httpapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const healthy = `{"status":"ok","service":"api-gpu orchestrator","version":"0.9","uptime":185,"provider":"local","workers":{"ready":1},"jobs":{"running":2},"warnings":["PUBLIC_URL is not set."]}`

// result is what one run of the program did.
type result struct {
	code           int
	stdout, stderr string
}

// invoke runs the program against a server. What differs from run to run is
// replaced in what it says.
func invoke(ctx context.Context, t *testing.T, server, stdin string, args ...string) result {
	t.Helper()
	env := map[string]string{"API_GPU_URL": server, "API_GPU_KEY": "secret"}
	var stdout, stderr bytes.Buffer
	code := run(ctx, args, func(name string) string { return env[name] }, strings.NewReader(stdin), &stdout, &stderr)
	tidy := func(s string) string {
		s = strings.ReplaceAll(strings.ReplaceAll(s, server, "SERVER"), strings.TrimPrefix(server, "http://"), "HOST")
		s = regexp.MustCompile(`\?exp=\d+&sig=[\w-]+`).ReplaceAllString(s, "?SIGNED")
		// How many reads a transfer takes is the network's affair.
		return regexp.MustCompile(`(?m)^(Sending .*|Saving) \d?\d%\n`).ReplaceAllString(s, "")
	}
	return result{code, tidy(stdout.String()), tidy(stderr.String())}
}

func (r result) want(t *testing.T, want result) {
	t.Helper()
	if diff := cmp.Diff(want, r, cmp.AllowUnexported(result{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// files writes a video and its subtitles into a folder of the test's own.
func files(t *testing.T) (dir, video, srt string) {
	t.Helper()
	dir = t.TempDir()
	video, srt = filepath.Join(dir, "clip.mov"), filepath.Join(dir, "clip.srt")
	for name, content := range map[string]string{video: "the video", srt: "1\n00:00:00,000 --> 00:00:01,000\nhello\n"} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir, video, srt
}

// leftovers lists what a run left in a folder, without its inputs.
func leftovers(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if e.Name() != "clip.mov" && e.Name() != "clip.srt" {
			names = append(names, e.Name())
		}
	}
	return names
}

func TestCaption(t *testing.T) {
	t.Parallel()
	m := newMemory()
	server := serve(t, m, healthy)
	dir, video, srt := files(t)
	out := filepath.Join(dir, "out.mp4")
	got := invoke(t.Context(), t, server, "", "caption", video, srt, "-o", out, "--quality", "high")
	got.want(t, result{
		stdout: "Saved " + out + `
Video 4.0 kB, 1920x1080, 1 min 3 s, h264 and aac
Link  SERVER/files/job_a/out.mp4?SIGNED (until 2026-01-03 03:04 UTC)
Time  0.4 s waiting, 1.2 s getting the video, 7.0 s burning in (libx264, 9.0x real time), 0.7 s bringing it home; 9.3 s in all
Note  Cues overlap; both are shown. (3 times)
`,
		stderr: `Sending clip.mov 100%
Checking the files
Waiting for a machine, number 1 in the queue
Burning in the captions 41%, about 12 s left
Ended: succeeded 100%
Saving 100%
`})
	saved, err := os.ReadFile(out)
	if err != nil || !bytes.Equal(saved, m.video) {
		t.Errorf("saved %d bytes, %v", len(saved), err)
	}
	if names := leftovers(t, dir); len(names) != 1 {
		t.Errorf("left %v", names)
	}
	h := m.jobs["job_a"]
	if string(h.sent) != "the video" || !strings.Contains(string(h.sub.Subtitle), "hello") || h.sub.Spec.Output.Quality != apigpu.High {
		t.Errorf("the server got %q, %q, %+v", h.sent, h.sub.Subtitle, h.sub.Spec)
	}
}

func TestCaptionByAddressToStandardOutput(t *testing.T) {
	t.Parallel()
	m := newMemory()
	got := invoke(t.Context(), t, serve(t, m, healthy), "1\n00:00:00,000 --> 00:00:01,000\npiped\n",
		"caption", "https://example.com/films/cat.webm?x=1", "-", "-o", "-")
	if got.code != 0 || got.stdout != string(m.video) {
		t.Fatalf("code %d, %d bytes on stdout, stderr\n%s", got.code, len(got.stdout), got.stderr)
	}
	sub := m.jobs["job_a"].sub
	if sub.Spec.URLVideo != "https://example.com/films/cat.webm?x=1" || !strings.Contains(string(sub.Subtitle), "piped") ||
		sub.Spec.Output.Filename != "cat.captioned.mp4" {
		t.Errorf("the server got %+v", sub)
	}
}

func TestCaptionJSON(t *testing.T) {
	t.Parallel()
	server := serve(t, newMemory(), healthy)
	dir, video, srt := files(t)
	got := invoke(t.Context(), t, server, "", "caption", video, srt, "--json", "-o", dir)
	var job apigpu.Job
	if err := json.Unmarshal([]byte(got.stdout), &job); err != nil || got.code != 0 {
		t.Fatalf("code %d, %v\n%s%s", got.code, err, got.stdout, got.stderr)
	}
	if job.ID != "job_a" || job.Status != apigpu.Succeeded || job.Video == nil {
		t.Errorf("got %+v", job)
	}
	if names := leftovers(t, dir); len(names) != 1 || names[0] != "clip.captioned.mp4" {
		t.Errorf("left %v", names)
	}
}

func TestCaptionNoWait(t *testing.T) {
	t.Parallel()
	server := serve(t, newMemory(), healthy)
	got := invoke(t.Context(), t, server, "", "caption", "http://a.example/v.mp4", "http://a.example/s.srt", "--no-wait")
	got.want(t, result{stdout: `Job   job_a
Link  SERVER/files/job_a/v.captioned.mp4?SIGNED (opens when the job is done, until 2026-01-03 03:04 UTC at the latest)
Next  api-gpu job job_a --wait
`})
}

func TestCaptionWithKeyAndWebhook(t *testing.T) {
	t.Parallel()
	m := newMemory()
	invoke(t.Context(), t, serve(t, m, healthy), "", "caption", "http://a.example/v.mp4", "http://a.example/s.srt", "--no-wait",
		"--webhook", "https://n8n.example/x?sig=1", "--idempotency-key", "order 7")
	m.mu.Lock()
	defer m.mu.Unlock()
	if sub := m.jobs["job_a"].sub; sub.WebhookURL != "https://n8n.example/x?sig=1" || sub.Key != "order 7" {
		t.Errorf("asked for %+v", sub)
	}
}

// A job that fails, or is ended by somebody, leaves no file and an exit code
// that says so.
func TestCaptionOfAJobThatEndsBadly(t *testing.T) {
	t.Parallel()
	failure := apigpu.E(apigpu.NoVideoStream, nil, "The file has\x1b[31m no picture.").WithHint("Send a video.")
	for _, tt := range []struct {
		end  apigpu.Job
		code int
		says string
	}{
		{apigpu.Job{Status: apigpu.Failed, Error: failure}, exitUsage,
			"api-gpu: The file has [31m no picture. (no_video_stream)\n  Send a video.\n"},
		{apigpu.Job{Status: apigpu.JobCanceled}, exitCanceled, "api-gpu: The job ended as canceled.\n"},
		{apigpu.Job{Status: apigpu.JobExpired, Error: apigpu.E(apigpu.QueueExpired, nil, "It waited too long.")}, exitCanceled,
			"api-gpu: It waited too long. (queue_expired)\n"},
	} {
		t.Run(string(tt.end.Status), func(t *testing.T) {
			t.Parallel()
			m := newMemory()
			m.script = []apigpu.Job{tt.end}
			dir, video, srt := files(t)
			got := invoke(t.Context(), t, serve(t, m, healthy), "", "caption", video, srt, "-o", dir, "--json")
			if got.code != tt.code || !strings.HasSuffix(got.stderr, tt.says) {
				t.Errorf("code %d, want %d; stderr\n%s", got.code, tt.code, got.stderr)
			}
			var job apigpu.Job
			if err := json.Unmarshal([]byte(got.stdout), &job); err != nil || job.Status != tt.end.Status {
				t.Errorf("stdout is not the job: %v\n%s", err, got.stdout)
			}
			if names := leftovers(t, dir); len(names) != 0 {
				t.Errorf("left %v", names)
			}
		})
	}
}

func TestInterruptCancelsTheJob(t *testing.T) {
	t.Parallel()
	ctx, interrupt := context.WithCancel(t.Context())
	m := newMemory()
	m.onWait = func(j apigpu.Job) {
		if j.Status == apigpu.Running {
			interrupt()
		}
	}
	dir, video, srt := files(t)
	got := invoke(ctx, t, serve(t, m, healthy), "", "caption", video, srt, "-o", dir)
	if got.code != exitInterrupted || !strings.HasSuffix(got.stderr, "api-gpu: Interrupted. The server was told to cancel job_a.\n") {
		t.Errorf("code %d, stderr\n%s", got.code, got.stderr)
	}
	select {
	case <-m.canceled:
	default:
		t.Error("the server was not told")
	}
	if names := leftovers(t, dir); len(names) != 0 {
		t.Errorf("left %v", names)
	}
}

// A request by address is answered even when the interrupt comes in its
// midst: otherwise a job would run whose id nobody knows.
func TestInterruptWhileSubmitting(t *testing.T) {
	t.Parallel()
	ctx, interrupt := context.WithCancel(t.Context())
	m := newMemory()
	inner := serve(t, m, healthy)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		interrupt()
		r.Header.Set("X-Test", "1")
		req, err := http.NewRequestWithContext(r.Context(), r.Method, inner+r.URL.Path, r.Body)
		if err != nil {
			t.Error(err)
			return
		}
		req.Header = r.Header
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			return
		}
		defer resp.Body.Close()
		w.WriteHeader(resp.StatusCode)
		_, _ = bytes.NewBuffer(nil).ReadFrom(resp.Body)
		_, _ = fmt.Fprint(w, `{"job":{"id":"job_a","status":"queued"}}`)
	}))
	t.Cleanup(func() { proxy.Close(); http.DefaultTransport.(*http.Transport).CloseIdleConnections() })
	got := invoke(ctx, t, proxy.URL, "", "caption", "http://a.example/v.mp4", "http://a.example/s.srt", "-o", t.TempDir())
	if got.code != exitInterrupted || len(m.canceled) != 1 {
		t.Errorf("code %d, %d cancels, stderr\n%s", got.code, len(m.canceled), got.stderr)
	}
}

func TestFilesThatAreNotRight(t *testing.T) {
	t.Parallel()
	server := serve(t, newMemory(), healthy)
	dir, video, srt := files(t)
	taken, empty := filepath.Join(dir, "taken.mp4"), filepath.Join(dir, "empty.srt")
	huge := filepath.Join(dir, "huge.srt")
	for name, n := range map[string]int{taken: 3, empty: 0, huge: apigpu.MaxSubtitle + 1} {
		if err := os.WriteFile(name, make([]byte, n), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name string
		args []string
		says string
	}{
		{"no video", []string{filepath.Join(dir, "none"), srt}, "There is no file"},
		{"a folder", []string{dir, srt}, "is not a file"},
		{"no subtitles", []string{video, filepath.Join(dir, "none")}, "There is no file"},
		{"empty subtitles", []string{video, empty}, "is empty"},
		{"long subtitles", []string{video, huge}, "in their order"},
		{"taken", []string{video, srt, "-o", taken}, "--force"},
		{"the video itself", []string{video, srt, "-o", video, "--force"}, "is the video itself"},
		{"no such folder", []string{video, srt, "-o", filepath.Join(dir, "none", "x.mp4")}, "cannot be written"},
		{"two uses of stdout", []string{video, srt, "-o", "-", "--json"}, "standard output"},
		{"no quality", []string{video, srt, "--quality", "best"}, "quality"},
		{"no arguments", nil, "expected"},
	} {
		got := invoke(t.Context(), t, server, "", append([]string{"caption"}, tt.args...)...)
		if got.code != exitUsage || !strings.Contains(got.stderr, tt.says) || got.stdout != "" {
			t.Errorf("%s: code %d, stderr\n%s", tt.name, got.code, got.stderr)
		}
	}
	got := invoke(t.Context(), t, server, "", "caption", video, srt, "-o", taken, "--force")
	if saved, err := os.ReadFile(taken); got.code != 0 || err != nil || len(saved) != 4000 {
		t.Errorf("--force: code %d, %d bytes, %v", got.code, len(saved), err)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	down := httptest.NewServer(nil)
	down.Close()
	m := newMemory()
	m.refuse = apigpu.E(apigpu.SubtitleEmpty, nil, "There is no caption in the file.").WithHint("Is it the right one?")
	server := serve(t, m, healthy)
	caption := []string{"caption", "http://a.example/v.mp4", "http://a.example/s.srt", "--no-wait"}
	for _, tt := range []struct {
		name, server string
		args         []string
		code         int
		says         string
	}{
		{"server away", down.URL, []string{"jobs"}, exitUnreachable,
			"api-gpu: The server at HOST does not answer. (unavailable)\n  Its address comes from --server or API_GPU_URL. See: api-gpu doctor\n"},
		{"wrong key", server, []string{"jobs", "--key", "wrong"}, exitUnauthorized,
			"api-gpu: This API key is not known. (unauthorized)\n  Set API_GPU_KEY, in the environment or in .env, to a key of the server: see its X_API_KEY.\n"},
		{"no such job", server, []string{"job", "job_x"}, exitFailed, "api-gpu: There is no job job_x. (job_not_found)\n"},
		{"no captions", server, caption, exitUsage, "api-gpu: There is no caption in the file. (subtitle_empty)\n  Is it the right one?\n"},
		{"two faults", server, []string{"caption", "http:///v", "http:///s", "--no-wait"}, exitUsage,
			"api-gpu: 2 fields are not right; the first: url_video names no host (invalid_request)\n  url_video: names no host\n  url_srt: names no host\n"},
		{"no address", server, []string{"jobs", "--server", "example.com"}, exitUsage,
			"api-gpu: The address of the server must look like http://host:port. (invalid_request)\n"},
		{"no such command", server, []string{"burn"}, exitUsage, "api-gpu: unexpected argument burn.\n  See: api-gpu --help\n"},
		{"limit", server, []string{"jobs", "--limit", "0"}, exitUsage, "api-gpu: --limit is from 1 to 100.\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			invoke(t.Context(), t, tt.server, "", tt.args...).want(t, result{code: tt.code, stderr: tt.says})
		})
	}
}

func TestJobs(t *testing.T) {
	t.Parallel()
	m := newMemory()
	server := serve(t, m, healthy)
	invoke(t.Context(), t, server, "", "jobs").want(t, result{stdout: "No jobs.\n"})
	for range 2 {
		invoke(t.Context(), t, server, "", "caption", "http://a.example/v.mp4", "http://a.example/s.srt", "--no-wait")
	}
	invoke(t.Context(), t, server, "", "jobs", "--limit", "1").want(t, result{
		stdout: "ID     STATUS  DONE  CREATED               FILE\njob_b  queued  0%    2026-01-02 03:04 UTC  v.captioned.mp4\n",
		stderr: "There are more: see --limit.\n"})
	var page apigpu.JobPage
	got := invoke(t.Context(), t, server, "", "jobs", "--json", "--status", "queued")
	if err := json.Unmarshal([]byte(got.stdout), &page); err != nil || len(page.Data) != 2 {
		t.Errorf("%v\n%s", err, got.stdout)
	}
	invoke(t.Context(), t, server, "", "job", "job_a").want(t, result{
		stdout: "Job   job_a  Checking the files\nLink  SERVER/files/job_a/v.captioned.mp4?SIGNED (opens when the job is done)\n"})
	invoke(t.Context(), t, server, "", "cancel", "job_a").want(t, result{stdout: "job_a is canceled.\n"})
	invoke(t.Context(), t, server, "", "cancel", "job_a").want(t, result{code: exitFailed, stderr: "api-gpu: The job has ended. (conflict)\n"})
	invoke(t.Context(), t, server, "", "job", "job_a").want(t, result{stdout: "Job   job_a  Ended: canceled\n"})
	invoke(t.Context(), t, server, "", "job", "job_a", "--wait").want(t, result{
		code: exitCanceled, stdout: "Job   job_a  Ended: canceled\n", stderr: "Ended: canceled 0%\napi-gpu: The job ended as canceled.\n"})
	got = invoke(t.Context(), t, server, "", "job", "job_b", "--wait")
	if got.code != 0 || !strings.Contains(got.stdout, "Video 4.0 kB") || !strings.Contains(got.stderr, "Burning in the captions 41%") {
		t.Errorf("code %d\n%s%s", got.code, got.stdout, got.stderr)
	}
}

// To stop looking at a job does not end it.
func TestInterruptWhileWatching(t *testing.T) {
	t.Parallel()
	m := newMemory()
	server := serve(t, m, healthy)
	invoke(t.Context(), t, server, "", "caption", "http://a.example/v.mp4", "http://a.example/s.srt", "--no-wait")
	ctx, interrupt := context.WithCancel(t.Context())
	m.onWait = func(apigpu.Job) { interrupt() }
	got := invoke(ctx, t, server, "", "job", "job_a", "--wait")
	if got.code != exitInterrupted || len(m.canceled) != 0 || !strings.Contains(got.stderr, "The job goes on.") {
		t.Errorf("code %d, %d cancels, stderr\n%s", got.code, len(m.canceled), got.stderr)
	}
}

func TestDoctor(t *testing.T) {
	t.Parallel()
	down := httptest.NewServer(nil)
	down.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	for _, tt := range []struct {
		name, health string
		args         []string
		code         int
		says         []string
	}{
		{"well", healthy, nil, exitOK, []string{"✓ The address of the server is SERVER\n", "✓ It answers: api-gpu orchestrator 0.9, up for 3 min 5 s\n",
			"✓ It accepts the key\n", "✓ Machines: 1 ready, 0 starting. Jobs: 0 waiting, 2 running\n", "✓ Its state is ok\n", "✓ It warns: PUBLIC_URL is not set.\n"}},
		{"wrong key", healthy, []string{"--key", "wrong"}, exitUnauthorized, []string{"✗ This API key is not known. (unauthorized)\n  Set API_GPU_KEY"}},
		{"ill", `{"status":"degraded","provider":"static"}`, nil, exitUnreachable, []string{"✗ Machines: 0 ready", "  No worker answers", "✗ Its state is degraded"}},
		{"asleep", `{"status":"standby","provider":"vast"}`, nil, exitOK, []string{"One is started when a job comes", "Another process leads"}},
		{"away", "", []string{"--server", down.URL}, exitUnreachable, []string{"✗ The server at ", "  Start the server"}},
		{"no TLS there", "", []string{"--server", "https" + strings.TrimPrefix(plain.URL, "http")}, exitUnreachable, []string{"✗ The server at ", "  It does not speak TLS there"}},
		{"something else", "<html>", nil, exitFailed, []string{"✗ HOST answers, and not in the words of api-gpu."}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := invoke(t.Context(), t, serve(t, newMemory(), tt.health), "", append([]string{"doctor"}, tt.args...)...)
			if got.code != tt.code {
				t.Errorf("code %d, want %d", got.code, tt.code)
			}
			for _, line := range tt.says {
				if !strings.Contains(got.stdout, line) {
					t.Errorf("does not say %q but\n%s%s", line, got.stdout, got.stderr)
				}
			}
		})
	}
}

// With the admin's key the server says what it finds of itself.
func TestDoctorOfTheServer(t *testing.T) {
	t.Parallel()
	d := apigpu.Diagnosis{Version: "0.9", Checks: []apigpu.Check{{Name: "credit", Status: apigpu.CheckFailed, Message: "None.", Hint: "Add some."}, {Name: "image", Status: apigpu.CheckOK, Message: "There."}}}
	well := apigpu.Diagnosis{Version: "0.9", Checks: d.Checks[1:]}
	for _, tt := range []struct {
		name   string
		answer func(w http.ResponseWriter)
		code   int
		says   string
	}{
		{"ill", func(w http.ResponseWriter) { httpapi.WriteJSON(w, 200, d) }, exitFailed, "✗ It has examined itself: 1 of 2 checks failed, see below\n✗ credit      None.\n              Add some.\n✓ image       There.\n"},
		{"well", func(w http.ResponseWriter) { httpapi.WriteJSON(w, 200, well) }, exitOK, "✓ It has examined itself, and nothing failed\n✓ image       There.\n"},
		{"not for us", func(w http.ResponseWriter) { httpapi.WriteError(w, apigpu.E(apigpu.Forbidden, nil, "No.")) }, exitOK, "✓ It examines itself for the key named admin only\n"},
		{"broken", func(w http.ResponseWriter) { httpapi.WriteError(w, apigpu.E(apigpu.Internal, nil, "Oh.")) }, exitFailed, "✗ It was to examine itself: Oh. (internal)\n"},
		{"older", nil, exitOK, "✓ It does not examine itself: it is an older version, or a worker\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := serve(t, newMemory(), healthy, func(mux *http.ServeMux) {
				if tt.answer != nil {
					mux.HandleFunc("GET /doctor", func(w http.ResponseWriter, _ *http.Request) { tt.answer(w) })
				}
			})
			got := invoke(t.Context(), t, server, "", "doctor")
			if got.code != tt.code || !strings.Contains(got.stdout, tt.says) {
				t.Errorf("code %d, want %d and %q in\n%s%s", got.code, tt.code, tt.says, got.stdout, got.stderr)
			}
		})
	}
}

func TestHelpAndVersion(t *testing.T) {
	t.Parallel()
	got := invoke(t.Context(), t, "http://unused.invalid", "", "--version")
	got.want(t, result{stdout: apigpu.Version() + "\n"})
	got = invoke(t.Context(), t, "http://unused.invalid", "", "--help")
	if got.code != 0 || got.stderr != "" {
		t.Errorf("code %d, stderr %q", got.code, got.stderr)
	}
	for _, c := range exitCodes() {
		if line := fmt.Sprintf("%3d  %s\n", c.code, c.meaning); !strings.Contains(got.stdout, line) {
			t.Errorf("--help lacks %q", line)
		}
	}
}

// The environment wins over .env, and a flag over both.
func TestDotEnv(t *testing.T) {
	server := serve(t, newMemory(), healthy)
	t.Chdir(t.TempDir())
	none := func(string) string { return "" }
	ask := func(getenv func(string) string, args ...string) int {
		var out bytes.Buffer
		return run(t.Context(), append([]string{"jobs"}, args...), getenv, strings.NewReader(""), &out, &out)
	}
	if code := ask(none, "--server", server); code != exitUnauthorized {
		t.Errorf("without .env: code %d", code)
	}
	if err := os.WriteFile(".env", []byte("API_GPU_URL="+server+"\nexport API_GPU_KEY='secret'\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code := ask(none); code != exitOK {
		t.Errorf("with .env: code %d", code)
	}
	wrong := func(name string) string { return map[string]string{"API_GPU_KEY": "wrong"}[name] }
	if code := ask(wrong); code != exitUnauthorized {
		t.Errorf("the environment did not win: code %d", code)
	}
	if code := ask(wrong, "--key", "secret"); code != exitOK {
		t.Errorf("the flag did not win: code %d", code)
	}
	if err := os.WriteFile(".env", []byte("API_GPU_KEY = \"secret\nnonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	if code := run(t.Context(), []string{"jobs"}, none, nil, &stderr, &stderr); code != exitUsage || strings.Contains(stderr.String(), "secret") {
		t.Errorf("malformed .env: code %d, %s", code, stderr.String())
	}
}
