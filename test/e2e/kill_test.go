package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/test/need"
)

// moments are when the kill comes, from the answer to the request on: while
// the job waits, while its worker boots, during download, at several points
// of the render, on the way home, and after the end.
var moments = []time.Duration{
	0, 100 * time.Millisecond, 300 * time.Millisecond, 700 * time.Millisecond, 1200 * time.Millisecond,
	1800 * time.Millisecond, 2500 * time.Millisecond, 3500 * time.Millisecond, 5 * time.Second, 7 * time.Second,
}

// longVideo makes a clip that takes some seconds to render on two cores.
func longVideo(t testing.TB, dir string) {
	t.Helper()
	need.FFmpeg(t)
	ffmpeg(t, "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=25:duration=20", "-f", "lavfi", "-i", "sine=duration=20",
		"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac", filepath.Join(dir, "v.mp4"))
	write(t, dir, "s.srt", "1\n00:00:01,000 --> 00:00:19,000\nfrom here to there\n")
}

// wants checks that a job ended well, once, with one result in the store.
func (s *server) wants(job apigpu.Job) {
	s.t.Helper()
	s.succeeded(job)
	var results []string
	_ = filepath.WalkDir(filepath.Join(s.dir, "data", "files"), func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() && strings.HasSuffix(path, ".mp4") {
			results = append(results, path)
		}
		return nil
	})
	if len(results) != 1 {
		s.t.Errorf("results in the store: %v, want one", results)
	}
}

// succeeded checks that a job ended well, with a whole video.
func (s *server) succeeded(job apigpu.Job) {
	s.t.Helper()
	if job.Status != apigpu.Succeeded {
		s.t.Fatalf("the job is %s (%v), want succeeded", job.Status, job.Error)
	}
	path := s.fetch(job.VideoURL)
	info, err := os.Stat(path)
	if err != nil {
		s.t.Fatal(err)
	}
	if info.Size() != job.Video.Bytes {
		s.t.Errorf("the link gives %d bytes, the job says %d", info.Size(), job.Video.Bytes)
	}
	if got := strings.TrimSpace(string(command(s.t, "ffprobe", "-v", "error", "-count_frames", "-select_streams", "v:0",
		"-show_entries", "stream=nb_read_frames", "-of", "csv=p=0", path))); got != "500" {
		s.t.Errorf("%s frames, want 500", got)
	}
}

func TestKillOrchestrator(t *testing.T) {
	need.Long(t)
	t.Parallel()
	atMoments(t, func(s *server) {
		s.kill()
		s.run()
	}, func(t *testing.T, s *server, done apigpu.Job) {
		// The worker lived, so the first attempt goes on; but for a kill in the
		// moment between the claim and the worker's first word of it.
		log, err := os.ReadFile(s.log.Name())
		if err != nil {
			t.Fatal(err)
		}
		want := 1
		if strings.Contains(string(log), "The worker does not have this job") {
			want = 2
		}
		if done.Attempt != want {
			t.Errorf("attempt %d, want %d", done.Attempt, want)
		}
	})
}

func TestKillWorker(t *testing.T) {
	need.Long(t)
	t.Parallel()
	atMoments(t, (*server).killWorkers, func(*testing.T, *server, apigpu.Job) {})
}

// atMoments runs one job for each moment, kills then, and checks the end.
func atMoments(t *testing.T, kill func(*server), check func(*testing.T, *server, apigpu.Job)) {
	media := t.TempDir()
	longVideo(t, media)
	for _, at := range moments {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			t.Parallel()
			base := files(t, media, 500*time.Millisecond)
			s := start(t)
			job := s.submit(base+"/v.mp4", base+"/s.srt")
			time.Sleep(at) // the moment itself is what is tested
			kill(s)
			done := s.final(job.ID, 3*time.Minute)
			s.wants(done)
			check(t, s, done)
		})
	}
}

// TestKillWorkerAgain kills the workers of one job five times: none of it is
// the job's fault.
func TestKillWorkerAgain(t *testing.T) {
	need.Long(t)
	t.Parallel()
	media := t.TempDir()
	longVideo(t, media)
	base := files(t, media, 0)
	s := start(t)
	job := s.submit(base+"/v.mp4", base+"/s.srt")
	for attempt := 1; attempt <= 5; attempt++ {
		eventually(t, time.Minute, fmt.Sprintf("attempt %d runs", attempt), func() bool {
			j, err := s.client().Job(t.Context(), job.ID, 0)
			return err == nil && j.Attempt >= attempt && j.Status == apigpu.Running
		})
		s.killWorkers()
	}
	s.wants(s.final(job.ID, 3*time.Minute))
}

// killWorkers ends the workers at once, and waits for FFmpeg to die with them.
func (s *server) killWorkers() {
	s.t.Helper()
	for _, p := range processes(s.dir) {
		if p.name == "worker" {
			_ = syscall.Kill(p.pid, syscall.SIGKILL)
		}
	}
	eventually(s.t, 5*time.Second, "FFmpeg dies with its worker", func() bool {
		for _, p := range processes(s.dir) {
			if p.name == "ffmpeg" && orphan(p.pid) {
				return false
			}
		}
		return true
	})
}

// orphan reports whether a process lives and its parent is gone.
func orphan(pid int) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(pid), "stat"))
	if err != nil {
		return false
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	return len(fields) > 1 && fields[0] != "Z" && fields[1] == "1"
}
