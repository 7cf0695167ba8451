package httpapi

import (
	"context"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/api-gpu/api-gpu"
)

// post starts POST /video/caption in a bubble, and returns its answer's
// channel once the request waits or has been answered.
func post(w *world, query string, headers ...string) <-chan *http.Response {
	answer := make(chan *http.Response, 1)
	go func() { answer <- w.do("POST", "/video/caption"+query, goodBody, headers...) }()
	synctest.Wait()
	return answer
}

// waiting is a world with the usual wait, inside a bubble.
func waiting(t *testing.T, body func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		body(t, newWorld(t, func(c *Config) { c.SyncWait = 90 * time.Second }))
	})
}

const firstID = "job_0001"

func TestCaptionWaitsForItsVideo(t *testing.T) {
	t.Parallel()
	waiting(t, func(t *testing.T, w *world) {
		answer := post(w, "")
		time.Sleep(30 * time.Second)
		w.jobs.progress(firstID, 50)
		synctest.Wait()
		if len(answer) != 0 {
			t.Fatal("progress ended the wait")
		}
		w.jobs.finish(firstID, "movie")
		res := <-answer
		got := decode[apigpu.Result](t, res, 200)
		want := apigpu.Result{
			Code: 200, Message: "Video caption added successfully", VideoURL: got.Job.VideoURL, Job: got.Job,
			Execution: &apigpu.Execution{StartTime: start, EndTime: start.Add(1500 * time.Millisecond), DurationMS: 1500, DurationSeconds: 1.5},
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
		if got.Job.Status != apigpu.Succeeded || got.Job.Object != "job" || res.Header.Get("X-Job-Id") != firstID || res.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("job %+v, header %v", got.Job, res.Header)
		}
		if res := w.do("GET", got.VideoURL, "", "X-API-Key: "); res.StatusCode != 200 {
			t.Errorf("video_url answers %d", res.StatusCode)
		}
	})
}

// The answer of a wait that passed: 202, its final address, and what to do.
func TestCaptionThatGoesOn(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, query string
		headers     []string
		after       time.Duration
		applied     string
	}{
		{"the usual wait", "", nil, 90 * time.Second, ""},
		{"a wait of its own", "?wait=5", nil, 5 * time.Second, ""},
		{"a preferred wait", "", []string{"Prefer: wait=7"}, 7 * time.Second, "wait=7"},
		{"respond-async", "", []string{async}, 0, "respond-async"},
		{"no wait", "?wait=0", nil, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			waiting(t, func(t *testing.T, w *world) {
				begun := time.Now()
				res := <-post(w, c.query, c.headers...)
				if took := time.Since(begun); took != c.after {
					t.Errorf("it took %s", took)
				}
				got := decode[apigpu.Result](t, res, 202)
				self := "http://example.com/jobs/" + firstID
				if got.Code != 202 || got.Job.Status != apigpu.Queued || got.Execution != nil || !strings.Contains(got.Message, self) {
					t.Errorf("result %+v", got)
				}
				h := res.Header
				if h.Get("Location") != self || h.Get("Retry-After") != "5" || h.Get("Preference-Applied") != c.applied || h.Get("X-Job-Id") != firstID {
					t.Errorf("header %v", h)
				}
				w.jobs.finish(firstID, "movie")
				if later := decode[apigpu.Job](t, w.do("GET", self, ""), 200); later.VideoURL != got.VideoURL || got.VideoURL == "" {
					t.Errorf("video_url was %s and is %s", got.VideoURL, later.VideoURL)
				}
			})
		})
	}
}

// Whoever waits for a video learns of a failure by the status.
func TestFailedJobIsNever2xx(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		end  func(f *fakeJobs)
		code apigpu.Code
	}{
		{"source", func(f *fakeJobs) { f.fail(firstID, apigpu.SourceUnreachable) }, apigpu.SourceUnreachable},
		{"lost", func(f *fakeJobs) { f.fail(firstID, apigpu.GPULost) }, apigpu.GPULost},
		{"canceled", func(f *fakeJobs) { _, _ = f.Cancel(t.Context(), Caller{Admin: true}, firstID) }, apigpu.Canceled},
		{"expired", func(f *fakeJobs) { f.change(firstID, func(j *fakeJob) { j.job.Status = apigpu.JobExpired }) }, apigpu.QueueExpired},
		{"failed, nobody knows why", func(f *fakeJobs) { f.change(firstID, func(j *fakeJob) { j.job.Status = apigpu.Failed }) }, apigpu.Internal},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			waiting(t, func(t *testing.T, w *world) {
				plain, followed := post(w, ""), make(chan *http.Response, 1)
				go func() { followed <- w.do("GET", "/jobs/"+firstID+"?wait=60&follow=true", "", "Accept: video/mp4") }()
				synctest.Wait()
				c.end(w.jobs)
				for _, answer := range []<-chan *http.Response{plain, followed} {
					if p := problem(t, <-answer, c.code); p.JobID != firstID {
						t.Errorf("problem %+v", p)
					}
				}
				decode[apigpu.Job](t, w.do("GET", "/jobs/"+firstID, ""), 200) // the job itself is there to be read
			})
		})
	}
}

func TestCaptionAsBytes(t *testing.T) {
	t.Parallel()
	const mp4 = "Accept: video/mp4"
	waiting(t, func(t *testing.T, w *world) {
		late := <-post(w, "?wait=3", mp4)
		p := problem(t, late, apigpu.WaitOver)
		if late.Header.Get("Retry-After") == "" || late.Header.Get("Location") != "http://example.com/jobs/"+firstID || p.JobID != firstID || !p.Retryable {
			t.Errorf("header %v, problem %+v", late.Header, p)
		}
		if w.log.Len() != 0 {
			t.Errorf("a passed wait is no fault of ours: %s", w.log)
		}
		problem(t, <-post(w, "", mp4, async), apigpu.WaitOver)
		answer := post(w, "", mp4)
		w.jobs.finish("job_0003", "movie")
		res := <-answer
		raw, err := io.ReadAll(res.Body)
		if err != nil || string(raw) != "movie" || res.StatusCode != 200 || res.Header.Get("Content-Type") != "video/mp4" {
			t.Errorf("%d %q %v, %v", res.StatusCode, raw, res.Header, err)
		}
		if res.Header.Get("X-Job-Id") != "job_0003" || res.Header.Get("X-Job-Warnings") != `["charset_guessed"]` {
			t.Errorf("header %v", res.Header)
		}
	})
}

// One client that follows redirects, as curl -L does, gets its video across
// proxies that cut at 100 s; also one that keeps POST, as curl -X POST does.
func TestFollow(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, prefix, accept string }{
		{"JSON", "", "*/*"},
		{"the video", "", "video/mp4"},
		{"below a path of a proxy's", "/api/gpu", "video/mp4"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			waiting(t, func(t *testing.T, w *world) {
				client, begun := w.client(t), time.Now()
				if c.prefix != "" {
					client.Transport = stripPrefix{client.Transport, c.prefix}
				}
				var hops []string
				client.CheckRedirect = func(r *http.Request, via []*http.Request) error {
					if took := time.Since(begun); took != time.Duration(len(via))*followWait*time.Second {
						t.Errorf("hop %d after %s", len(via), took)
					}
					hops = append(hops, r.Method+" "+r.URL.String())
					return nil
				}
				time.AfterFunc(300*time.Second, func() { w.jobs.finish(firstID, "movie") })
				r, err := http.NewRequest("POST", "http://api"+c.prefix+"/video/caption?follow=true", strings.NewReader(goodBody))
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Accept", c.accept)
				res, err := client.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				raw, err := io.ReadAll(res.Body)
				if err != nil || res.StatusCode != 200 || !strings.Contains(string(raw), "movie") && !strings.Contains(string(raw), `"video_url"`) {
					t.Errorf("%d %s, %v", res.StatusCode, raw, err)
				}
				hop := "GET http://api" + c.prefix + "/jobs/" + firstID + "?wait=90&follow=true"
				if d := cmp.Diff([]string{hop, hop, hop}, hops); d != "" {
					t.Error(d)
				}
				if took := time.Since(begun); took != 300*time.Second {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}

// stripPrefix is a proxy that serves the API below a path.
type stripPrefix struct {
	http.RoundTripper
	prefix string
}

func (s stripPrefix) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Path = strings.TrimPrefix(r.URL.Path, s.prefix)
	return s.RoundTripper.RoundTrip(r)
}

func TestFollowByPOST(t *testing.T) {
	t.Parallel()
	waiting(t, func(t *testing.T, w *world) {
		at := "/video/caption?follow=true&wait=1"
		for range 3 {
			res := w.do("POST", at, goodBody)
			if res.StatusCode != http.StatusSeeOther {
				t.Fatalf("%s: status %d", at, res.StatusCode)
			}
			base, err := url.Parse(at)
			if err != nil {
				t.Fatal(err)
			}
			next, err := base.Parse(res.Header.Get("Location"))
			if err != nil {
				t.Fatal(err)
			}
			if at = next.String(); at != "/jobs/"+firstID+"?wait=90&follow=true" {
				t.Fatalf("next hop %s", at)
			}
		}
		w.jobs.finish(firstID, "movie")
		decode[apigpu.Result](t, w.do("POST", at, ""), 200)
	})
}

// All that waits ends when the server stops, as if its time were over.
func TestStopEndsWaits(t *testing.T) {
	t.Parallel()
	waiting(t, func(t *testing.T, w *world) {
		answers := []<-chan *http.Response{post(w, ""), post(w, "?follow=true"), post(w, "", "Accept: video/mp4")}
		stream := make(chan *http.Response, 1)
		go func() { stream <- w.do("GET", "/jobs/"+firstID+"/events", "") }()
		link := make(chan *http.Response, 1)
		u := decode[apigpu.Job](t, w.do("GET", "/jobs/"+firstID, ""), 202).VideoURL
		go func() { link <- w.do("GET", u+"&wait=600", "") }()
		synctest.Wait()
		begun := time.Now()
		w.Stop()
		for i, want := range []int{202, 303, 503} {
			if res := <-answers[i]; res.StatusCode != want {
				t.Errorf("wait %d: status %d, want %d", i, res.StatusCode, want)
			}
		}
		problem(t, <-link, apigpu.NotReady)
		<-stream
		if took := time.Since(begun); took > eventGap {
			t.Errorf("it took %s", took)
		}
		if res := <-post(w, ""); res.StatusCode != 202 || time.Since(begun) > eventGap {
			t.Errorf("after Stop: status %d", res.StatusCode)
		}
	})
}

// A job goes on when its client hangs up; nothing of the request stays.
func TestHangUpWhileWaiting(t *testing.T) {
	t.Parallel()
	waiting(t, func(t *testing.T, w *world) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(10*time.Second, cancel)
		r, err := http.NewRequestWithContext(ctx, "POST", "http://api/video/caption", strings.NewReader(goodBody))
		if err != nil {
			t.Fatal(err)
		}
		if res, err := w.client(t).Do(r); err == nil {
			res.Body.Close()
			t.Fatalf("status %d", res.StatusCode)
		}
		synctest.Wait() // the bubble would report a handler that stays
		if job := decode[apigpu.Job](t, w.do("GET", "/jobs/"+firstID, ""), 202); job.Status != apigpu.Queued {
			t.Errorf("status %s", job.Status)
		}
		if w.log.Len() != 0 {
			t.Errorf("log %s", w.log)
		}
	})
}

func TestWaitThatFails(t *testing.T) {
	t.Parallel()
	waiting(t, func(t *testing.T, w *world) {
		w.jobs.waitErr = apigpu.E(apigpu.Unavailable, nil, "The database is gone.")
		if p := problem(t, <-post(w, ""), apigpu.Unavailable); p.JobID != firstID {
			t.Errorf("the client cannot find its job: %+v", p)
		}
	})
}

func TestJob(t *testing.T) {
	t.Parallel()
	waiting(t, func(t *testing.T, w *world) {
		id := w.submit(t)
		w.jobs.progress(id, 60)
		res := w.do("GET", "/jobs/"+id, "")
		if job := decode[apigpu.Job](t, res, 202); job.Progress != 60 || res.Header.Get("Retry-After") != "40" {
			t.Errorf("job %+v, header %v", job, res.Header)
		}
		begun := time.Now()
		res = w.do("GET", "/jobs/"+id+"?wait=20", "")
		if decode[apigpu.Job](t, res, 202); time.Since(begun) != 20*time.Second {
			t.Errorf("it took %s", time.Since(begun))
		}
		if res := w.do("GET", "/jobs/"+id, "", "Prefer: wait=1"); res.Header.Get("Preference-Applied") != "wait=1" {
			t.Errorf("header %v", res.Header)
		}
		time.AfterFunc(10*time.Second, func() { w.jobs.fail(id, apigpu.NoVideoStream) })
		if job := decode[apigpu.Job](t, w.do("GET", "/jobs/"+id+"?wait=20", ""), 200); job.Error == nil || job.Error.Code != apigpu.NoVideoStream {
			t.Errorf("job %+v", job)
		}
		if res := w.do("HEAD", "/jobs/"+id, ""); res.StatusCode != 200 {
			t.Errorf("HEAD: %d", res.StatusCode)
		}
		problem(t, w.do("GET", "/jobs/"+id+"?wait=-1", ""), apigpu.InvalidRequest)
		problem(t, w.do("GET", "/jobs/nobody?wait=5", ""), apigpu.JobNotFound)
		problem(t, w.do("GET", "/jobs/..%2F..%2Fetc", ""), apigpu.JobNotFound)
	})
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	for eta, want := range map[float64]int{-1: 1, 0: 1, 0.2: 1, 7.9: 7, 61: 60, 1e300: 60} {
		if got := retryAfter(apigpu.Job{ETASeconds: &eta}); got != want {
			t.Errorf("retryAfter(%g) = %d, want %d", eta, got, want)
		}
	}
}

// Results are served by ranges, with an ETag, under both of their addresses.
func TestVideo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.submit(t)
	problem(t, w.do("GET", "/jobs/"+id+"/video", ""), apigpu.NotReady)
	w.jobs.finish(id, "0123456789")
	link := decode[apigpu.Job](t, w.do("GET", "/jobs/"+id, ""), 200).VideoURL
	for _, at := range []string{"/jobs/" + id + "/video", link} {
		for _, c := range []struct {
			name, method, header string
			status               int
			body, contentRange   string
		}{
			{"whole", "GET", "", 200, "0123456789", ""},
			{"head", "HEAD", "", 200, "", ""},
			{"a range", "GET", "Range: bytes=2-4", 206, "234", "bytes 2-4/10"},
			{"the end", "GET", "Range: bytes=-3", 206, "789", "bytes 7-9/10"},
			{"from the middle", "GET", "Range: bytes=8-", 206, "89", "bytes 8-9/10"},
			{"head of a range", "HEAD", "Range: bytes=0-0", 206, "", "bytes 0-0/10"},
			{"beyond the end", "GET", "Range: bytes=10-", 416, "", "bytes */10"},
			{"known already", "GET", `If-None-Match: "abc123"`, 304, "", ""},
			{"another is known", "GET", `If-None-Match: "x"`, 200, "0123456789", ""},
			{"not modified since", "GET", "If-Modified-Since: " + start.Add(time.Hour).Format(http.TimeFormat), 304, "", ""},
		} {
			res := w.do(c.method, at, "", c.header)
			raw, err := io.ReadAll(res.Body)
			if err != nil || res.StatusCode != c.status || c.status != 416 && string(raw) != c.body || res.Header.Get("Content-Range") != c.contentRange {
				t.Errorf("%s: %d %q %v, %v", c.name, res.StatusCode, raw, res.Header, err)
			}
			if h := res.Header; c.status == 416 && (h.Get("Content-Type") != "application/problem+json" || !strings.Contains(string(raw), `"range_not_satisfiable"`)) {
				t.Errorf("%s: %q, header %v", c.name, raw, h)
			}
			if h := res.Header; c.status < 300 && (h.Get("ETag") != `"abc123"` || h.Get("Content-Type") != "video/mp4" ||
				h.Get("Accept-Ranges") != "bytes" || h.Get("Content-Disposition") != `inline; filename="video.mp4"` || h.Get("X-Content-Type-Options") != "nosniff") {
				t.Errorf("%s: header %v", c.name, h)
			}
		}
	}
}

func TestLinkMayWait(t *testing.T) {
	t.Parallel()
	waiting(t, func(t *testing.T, w *world) {
		id := w.submit(t)
		link := decode[apigpu.Job](t, w.do("GET", "/jobs/"+id, ""), 202).VideoURL
		begun := time.Now()
		problem(t, w.do("GET", link+"&wait=10", ""), apigpu.NotReady)
		if took := time.Since(begun); took != 10*time.Second {
			t.Errorf("it took %s", took)
		}
		time.AfterFunc(5*time.Second, func() { w.jobs.finish(id, "movie") })
		if res := w.do("GET", link+"&wait=10", ""); res.StatusCode != 200 {
			t.Errorf("status %d", res.StatusCode)
		}
	})
}

func TestDisposition(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"video.mp4": `inline; filename="video.mp4"`,
		"ação.mp4":  `inline; filename="a__o.mp4"; filename*=UTF-8''a%C3%A7%C3%A3o.mp4`,
	} {
		if got := disposition(name); got != want {
			t.Errorf("%s: %s", name, got)
		}
		if _, params, err := mime.ParseMediaType(disposition(name)); err != nil || params["filename"] != name {
			t.Errorf("%s: read back as %q, %v", name, params["filename"], err)
		}
	}
}

// A thumbnail has two addresses as the video has, and no key opens one that is
// not there.
func TestThumbnail(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	without, id := w.submit(t), w.submit(t)
	w.jobs.change(id, func(j *fakeJob) { j.job.Thumbnail = true })
	problem(t, w.do("GET", "/jobs/"+id+"/thumbnail.jpg", ""), apigpu.NotReady)
	problem(t, w.do("GET", "/jobs/job_none/thumbnail.jpg", ""), apigpu.JobNotFound)
	problem(t, w.do("GET", "/jobs/"+without+"/thumbnail.jpg", ""), apigpu.NotFound)
	link := decode[apigpu.Job](t, w.do("GET", "/jobs/"+id, ""), 202).ThumbnailURL
	if other := decode[apigpu.Job](t, w.do("GET", "/jobs/"+without, ""), 202).ThumbnailURL; other != "" {
		t.Errorf("nobody asked for %s", other)
	}
	problem(t, w.do("GET", link, ""), apigpu.NotReady)
	problem(t, w.do("GET", strings.Replace(link, "sig=", "sig=x", 1), ""), apigpu.NotFound)
	w.jobs.finish(id, "picture")
	for _, at := range []string{"/jobs/" + id + "/thumbnail.jpg", link} {
		res := w.do("GET", at, "")
		raw, err := io.ReadAll(res.Body)
		h := res.Header
		if err != nil || res.StatusCode != 200 || string(raw) != "picture" || h.Get("Content-Type") != "image/jpeg" ||
			h.Get("Content-Disposition") != `inline; filename="thumbnail.jpg"` || h.Get("ETag") != `"abc123"` || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d %q %v, %v", at, res.StatusCode, raw, h, err)
		}
	}
	w.jobs.change(id, func(j *fakeJob) { j.job.Warnings = []apigpu.Warning{{Code: apigpu.ThumbnailFailed}} })
	if job := decode[apigpu.Job](t, w.do("GET", "/jobs/"+id, ""), 200); job.ThumbnailURL != "" {
		t.Errorf("%s leads nowhere", job.ThumbnailURL)
	}
	w.jobs.change(id, func(j *fakeJob) { j.gone = true })
	problem(t, w.do("GET", link, ""), apigpu.Gone)
}
