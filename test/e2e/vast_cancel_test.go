package e2e

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/test/need"
)

// encoders counts the FFmpegs that run on rented machines.
func (r *rental) encoders() (n int) {
	for _, p := range processes(r.market.dir) {
		if p.name == "ffmpeg" {
			n++
		}
	}
	return n
}

// TestVastCancel cancels a job at each stage of its rental. Its FFmpeg stops at
// once, and the machine serves the next job, or goes.
func TestVastCancel(t *testing.T) {
	need.Long(t)
	t.Parallel()
	const atOnce = need.Slack * 2 * time.Second
	for name, c := range map[string]struct {
		scenario string
		// come is whether the stage is reached.
		come func(r *rental, job apigpu.Job) bool
		// next is whether another job waits, which takes the machine.
		next bool
		// often is whether make test tries it too.
		often bool
	}{
		"while a machine is looked for": {
			scenario: `"faults":[{"kind":"slow","call":"search","delay":"3s"}]`,
			come:     func(r *rental, _ apigpu.Job) bool { return len(r.market.calls("search")) > 0 },
		},
		"while a machine is rented": {
			scenario: `"faults":[{"kind":"slow","call":"create","delay":"3s"}]`,
			come:     func(r *rental, _ apigpu.Job) bool { return len(r.market.calls("create")) > 0 },
		},
		"while it boots": {
			scenario: `"boots":[{"pull":"6s"}]`,
			come: func(r *rental, _ apigpu.Job) bool {
				ours := r.market.ours()
				return len(ours) == 1 && ours[0].State == "loading"
			},
		},
		"while it boots, and another waits": {
			scenario: `"boots":[{"pull":"6s"}]`, next: true, often: true,
			come: func(r *rental, _ apigpu.Job) bool {
				ours := r.market.ours()
				return len(ours) == 1 && ours[0].State == "loading"
			},
		},
		"while it renders":                    {come: func(_ *rental, job apigpu.Job) bool { return renders(job) }, often: true},
		"while it renders, and another waits": {come: func(_ *rental, job apigpu.Job) bool { return renders(job) }, next: true},
	} {
		if !c.often && !soaks() {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base := clip(t, 60)
			tools := pacer(t) // else the video would be done before the cancel
			write(t, tools, "slow", "")
			scenario := quickBoot
			if c.scenario != "" {
				scenario += "," + c.scenario
			}
			r := newRental(t, scenario, tools)
			r.run()
			r.leads()
			job := r.submit(base+"/v.mp4", base+"/s.srt")
			r.until(job.ID, "it is "+name, func(j apigpu.Job) bool { return c.come(r, j) })
			worked := r.encoders() > 0
			if _, err := r.client().Cancel(t.Context(), job.ID); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			eventually(t, atOnce, "no FFmpeg runs", func() bool { return r.encoders() == 0 })
			if worked {
				t.Logf("FFmpeg stopped within %s", time.Since(began).Round(time.Millisecond))
			}
			if done := r.final(job.ID, time.Minute); done.Status != apigpu.JobCanceled {
				t.Errorf("the job is %s, want canceled", done.Status)
			}
			if c.next {
				r.serves(base)
			}
			r.over(time.Minute)
			r.createdOnce()
		})
	}
}

// serves lets the machine that is there, or boots, run a job: no other is
// rented for it.
func (r *rental) serves(base string) {
	r.t.Helper()
	before := len(r.market.calls("create"))
	next := r.submit(base+"/v.mp4", base+"/s.srt")
	r.until(next.ID, "the next renders", renders)
	if n := len(r.market.calls("create")); n != before {
		r.t.Errorf("%d creates, want the machine that was there", n)
	}
	if _, err := r.client().Cancel(r.t.Context(), next.ID); err != nil {
		r.t.Fatal(err)
	}
}

// TestVastWebhook: who asked for a call at the end of a job on a rented machine
// gets one, signed, with what the job cost; also where the job was canceled.
func TestVastWebhook(t *testing.T) {
	need.Long(t)
	t.Parallel()
	const secret = "whsec_cGxhbnRlZC1zZWNyZXQtb2YtdGVzdHMtNDczMg=="
	verifier, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	called := make(chan apigpu.Job, 10)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		var message struct{ Data apigpu.Job }
		raw, err := io.ReadAll(req.Body)
		if err == nil {
			err = errors.Join(verifier.Verify(raw, req.Header), json.Unmarshal(raw, &message))
		}
		if err != nil {
			t.Error(err)
		}
		called <- message.Data
	}))
	t.Cleanup(hook.Close)
	base := clip(t, 4)
	r := rent(t, quickBoot, "WEBHOOK_SECRET="+secret)
	ask := func() apigpu.Job {
		var result apigpu.Result
		r.post("?wait=0", map[string]any{"url_video": base + "/v.mp4", "url_srt": base + "/s.srt", "webhook_url": hook.URL}, &result)
		return result.Job
	}
	hears := func(id string, status apigpu.Status) apigpu.Job {
		select {
		case job := <-called:
			if job.ID != id || job.Status != status {
				t.Errorf("called for %s, which is %s, want %s, %s", job.ID, job.Status, id, status)
			}
			return job
		case <-time.After(time.Minute):
			t.Fatal("nobody called")
		}
		return apigpu.Job{}
	}
	canceled := ask()
	if _, err := r.client().Cancel(t.Context(), canceled.ID); err != nil {
		t.Fatal(err)
	}
	hears(canceled.ID, apigpu.JobCanceled)
	kept := ask()
	job := hears(kept.ID, apigpu.Succeeded)
	r.done(job)
	if job.Stats.CostUSD <= 0 || job.Stats.CostState != apigpu.CostEstimated {
		t.Errorf("it cost %v, %q", job.Stats.CostUSD, job.Stats.CostState)
	}
	r.over(time.Minute)
	if len(called) > 0 {
		t.Errorf("called %d times more", len(called))
	}
}
