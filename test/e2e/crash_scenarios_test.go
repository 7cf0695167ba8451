package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/test/need"
)

// scenario is what a client and an operator do while a program may die. It
// checks what becomes of it.
type scenario struct {
	name string
	run  func(*rig)
}

var scenarios = []scenario{
	{"upload", (*rig).uploads},
	{"address", (*rig).fetches},
	{"large", (*rig).fetchesLarge},
	{"cancel", (*rig).cancels},
	{"delete", (*rig).deletes},
	{"drop", (*rig).drops},
	{"boot", (*rig).boots},
	{"stop", (*rig).stopsAndStarts},
}

const shortCue = "1\n00:00:00,000 --> 00:00:00,900\nHi\n"

// crashMedia makes the videos: one of a second, the same to be fetched slowly,
// and one whose result comes in more than one chunk.
func crashMedia(t testing.TB) string {
	t.Helper()
	need.FFmpeg(t)
	dir := t.TempDir()
	ffmpeg(t, "-f", "lavfi", "-i", "testsrc2=size=160x90:rate=25:duration=1", "-c:v", "libx264", "-preset", "ultrafast", "-qp", "5",
		"-pix_fmt", "yuv420p", filepath.Join(dir, "v.mp4"))
	ffmpeg(t, "-f", "lavfi", "-i", "color=gray:size=640x360:rate=25:duration=1,noise=alls=100:allf=t", "-c:v", "libx264", "-preset", "ultrafast",
		"-qp", "10", "-pix_fmt", "yuv420p", filepath.Join(dir, "large.mp4"))
	raw, err := os.ReadFile(filepath.Join(dir, "v.mp4"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, stalling), raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// send makes one request, and reports false where no whole answer came.
func (r *rig) send(method, path string, header http.Header, body []byte) (status int, answer []byte, ok bool) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.url+path, bytes.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header = header.Clone()
	if req.Header == nil {
		req.Header = http.Header{}
	}
	req.Header.Set("X-API-Key", key)
	resp, err := (&http.Client{Timeout: 30 * time.Second}).Do(req)
	if err != nil {
		return 0, nil, false
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err == nil
}

// repeat makes a request until it is answered by other words than that the
// server is away.
func (r *rig) repeat(method, path string, header http.Header, body []byte) (status int, answer []byte) {
	r.t.Helper()
	r.until(method+" "+path+" is answered", func() (ok bool) {
		status, answer, ok = r.send(method, path, header, body)
		return ok && status != http.StatusServiceUnavailable
	})
	return status, answer
}

// ask asks for captions until it is answered, by which there is one job.
func (r *rig) ask(header http.Header, body []byte) apigpu.Job {
	r.t.Helper()
	status, answer := r.repeat(http.MethodPost, "/video/caption?wait=0", header, body)
	var result apigpu.Result
	if err := json.Unmarshal(answer, &result); err != nil || status != http.StatusAccepted && status != http.StatusOK {
		r.t.Fatalf("%s: submit: %d %s", r.now, status, answer)
	}
	return result.Job
}

// newKey makes a request one that may be repeated.
func (r *rig) newKey(contentType string) http.Header {
	r.keys++
	return http.Header{"Idempotency-Key": {fmt.Sprint("order ", r.keys)}, "Content-Type": {contentType}}
}

// askFor is a request that names a video of the source.
func (r *rig) askFor(video string, hook bool) (http.Header, []byte) {
	r.t.Helper()
	ask := map[string]any{"url_video": r.source + video, "srt": shortCue}
	if hook {
		ask["webhook_url"] = r.hook
	}
	if strings.HasPrefix(video, "/large") {
		ask["output"] = map[string]any{"quality": "max"}
	}
	body, err := json.Marshal(ask)
	if err != nil {
		r.t.Fatal(err)
	}
	return r.newKey("application/json"), body
}

// uploads sends a video with the request, and wants to be called back.
func (r *rig) uploads() {
	r.t.Helper()
	video, err := os.ReadFile(filepath.Join(r.media, "v.mp4"))
	if err != nil {
		r.t.Fatal(err)
	}
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	for _, field := range [][2]string{{"srt", shortCue}, {"webhook_url", r.hook}} {
		if err := form.WriteField(field[0], field[1]); err != nil {
			r.t.Fatal(err)
		}
	}
	part, err := form.CreateFormFile("video", "v.mp4")
	if err == nil {
		_, err = part.Write(video)
	}
	if err == nil {
		err = form.Close()
	}
	if err != nil {
		r.t.Fatal(err)
	}
	header := r.newKey(form.FormDataContentType())
	job := r.ask(header, body.Bytes())
	r.succeeds(job.ID)
	r.called(job.ID)
	if again := r.ask(header, body.Bytes()); again.ID != job.ID {
		r.t.Errorf("%s: sent again it is job %s, not %s", r.now, again.ID, job.ID)
	}
}

func (r *rig) fetches() {
	header, body := r.askFor("/v.mp4", false)
	r.succeeds(r.ask(header, body).ID)
}

func (r *rig) fetchesLarge() {
	header, body := r.askFor("/large.mp4", false)
	r.succeeds(r.ask(header, body).ID)
}

// running starts a job that goes on until it is ended.
func (r *rig) running(hook bool) string {
	r.t.Helper()
	header, body := r.askFor(stalling, hook)
	id := r.ask(header, body).ID
	r.until("the job runs", func() bool { return r.job(id).Status == apigpu.Running })
	return id
}

// job is empty while there is no answer.
func (r *rig) job(id string) (job apigpu.Job) {
	r.t.Helper()
	if status, answer, ok := r.send(http.MethodGet, "/jobs/"+id+"?wait=0", nil, nil); !ok || status/100 != 2 || json.Unmarshal(answer, &job) != nil {
		return apigpu.Job{}
	}
	return job
}

// cancels ends a job that runs: once that is promised it stays so.
func (r *rig) cancels() {
	r.t.Helper()
	id := r.running(true)
	status, answer := r.repeat(http.MethodPost, "/jobs/"+id+"/cancel", nil, nil)
	if status/100 != 2 && status != http.StatusConflict {
		r.t.Errorf("%s: cancel: %d %s", r.now, status, answer)
	}
	job := r.ends(id)
	if job.Status != apigpu.JobCanceled {
		r.t.Errorf("%s: the job is %s (%v), want canceled", r.now, job.Status, job.Error)
	}
	r.canceled = append(r.canceled, id)
	r.called(id)
}

func (r *rig) deletes() {
	r.t.Helper()
	header, body := r.askFor("/v.mp4", false)
	id := r.ask(header, body).ID
	r.succeeds(id)
	delete(r.kept, id)
	r.delete(id)
}

// drops deletes a job that runs.
func (r *rig) drops() {
	r.t.Helper()
	r.delete(r.running(false))
}

func (r *rig) delete(id string) {
	r.t.Helper()
	status, answer := r.repeat(http.MethodDelete, "/jobs/"+id, nil, nil)
	if status/100 != 2 && status != http.StatusNotFound {
		r.t.Errorf("%s: delete: %d %s", r.now, status, answer)
	}
	if status, _ := r.repeat(http.MethodGet, "/jobs/"+id+"?wait=0", nil, nil); status != http.StatusNotFound {
		r.t.Errorf("%s: the job is still there: %d", r.now, status)
	}
}

// boots runs a job for which a worker must be started.
func (r *rig) boots() {
	r.t.Helper()
	for _, p := range processes(r.dir) {
		_ = syscall.Kill(p.pid, syscall.SIGKILL)
	}
	r.until("the worker's end is known", func() bool {
		return r.number(`SELECT count(*) FROM instances WHERE state = 'ready'`) == 0
	})
	r.fetches()
}

// stopsAndStarts stops the orchestrator with a job at work, and starts it.
func (r *rig) stopsAndStarts() {
	r.t.Helper()
	header, body := r.askFor("/v.mp4", true)
	job := r.ask(header, body)
	r.until("the job runs", func() bool { return r.job(job.ID).Attempt > 0 })
	r.down()
	r.tend()
	r.succeeds(job.ID)
	r.called(job.ID)
}

// ends waits for the end of a job.
func (r *rig) ends(id string) (job apigpu.Job) {
	r.t.Helper()
	r.until("job "+id+" ends", func() bool {
		job = r.job(id)
		return job.Status.Final()
	})
	return job
}

// succeeds checks that a job ends well, by itself, with a whole video.
func (r *rig) succeeds(id string) {
	r.t.Helper()
	job := r.ends(id)
	if job.Status != apigpu.Succeeded {
		r.t.Errorf("%s: the job is %s (%v), want succeeded", r.now, job.Status, job.Error)
		return
	}
	most := 1
	if r.again {
		most = 2
	}
	if job.Attempt > most {
		r.t.Errorf("%s: attempt %d, want at most %d", r.now, job.Attempt, most)
	}
	if blamed := r.number(`SELECT blamed FROM jobs WHERE id = $1`, id); blamed != 0 {
		r.t.Errorf("%s: the job is blamed %d times", r.now, blamed)
	}
	status, video := r.repeat(http.MethodGet, strings.TrimPrefix(job.VideoURL, r.url), nil, nil)
	sum := sha256.Sum256(video)
	if status != http.StatusOK || job.Video == nil || hex.EncodeToString(sum[:]) != job.Video.SHA256 || int64(len(video)) != job.Video.Bytes {
		r.t.Errorf("%s: the link gives %d and %d bytes of SHA-256 %x, the job says %+v", r.now, status, len(video), sum, job.Video)
		return
	}
	file := filepath.Join(r.points("tmp"), "result.mp4")
	if err := os.WriteFile(file, video, 0o600); err != nil {
		r.t.Fatal(err)
	}
	defer os.Remove(file)
	if got := strings.TrimSpace(string(command(r.t, "ffprobe", "-v", "error", "-count_packets", "-select_streams", "v:0",
		"-show_entries", "stream=nb_read_packets", "-of", "csv=p=0", file))); got != "25" {
		r.t.Errorf("%s: %s frames, want 25", r.now, got)
	}
	r.kept[id] = job.Video.SHA256
}

// called waits until the webhook of a job was taken, and the row knows.
func (r *rig) called(id string) {
	r.t.Helper()
	r.until("the webhook is delivered", func() bool {
		job := r.job(id)
		return job.Webhook != nil && job.Webhook.Status == apigpu.WebhookDelivered
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.events[id]) == 0 {
		r.t.Errorf("%s: nobody called", r.now)
	}
}
