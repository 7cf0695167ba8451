package e2e

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/test/need"
)

// TestStatic uses a worker that somebody else runs: it is never ended by the
// orchestrator, and a job that it lost in a crash runs again when it is back.
func TestStatic(t *testing.T) {
	need.Long(t)
	t.Parallel()
	media := t.TempDir()
	longVideo(t, media)
	base := files(t, media, 0)
	port := freePort(t)
	worker := startWorker(t, port)
	s := start(t, "PROVIDER=static", "WORKER_URL=http://127.0.0.1:"+port, "WORKER_TOKEN=a-token", "WORKER_KEY=a-worker-key")

	job := s.submit(base+"/v.mp4", base+"/s.srt")
	eventually(t, time.Minute, "the job renders", func() bool {
		j, err := s.client().Job(t.Context(), job.ID, 0)
		return err == nil && j.Phase == apigpu.Rendering
	})
	_ = worker.Process.Kill()
	_ = worker.Wait()
	startWorker(t, port)
	done := s.final(job.ID, 2*time.Minute)
	s.wants(done)
	if done.Attempt != 2 {
		t.Errorf("attempt %d, want 2: the worker forgot the first", done.Attempt)
	}
	s.end()
	if resp, err := http.Get("http://127.0.0.1:" + port + "/health"); err != nil {
		t.Errorf("the worker is gone with the orchestrator: %v", err)
	} else {
		resp.Body.Close()
	}
}

func startWorker(t *testing.T, port string, env ...string) *exec.Cmd {
	t.Helper()
	need.FFmpeg(t)
	dir := t.TempDir()
	log, err := os.Create(filepath.Join(dir, "worker.log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(bin, "worker"))
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	cmd.Env = append(append(os.Environ(), "HOST=127.0.0.1", "PORT="+port, "SESSION_TOKEN=a-token", "X_API_KEY=a-worker-key",
		"ALLOW_PRIVATE_HOSTS=127.0.0.1", "WORK_DIR="+filepath.Join(dir, "work")), env...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = log.Close()
	})
	return cmd
}
