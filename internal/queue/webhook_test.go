package queue_test

import (
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/queue"
)

func (b *bench) hooked(host string) queue.Job {
	b.Helper()
	return b.submit(func(d *queue.Draft) {
		d.WebhookURL, d.Base = "https://"+host+"/hook?sig=s3cret", "https://video.example"
	})
}

func (b *bench) dueWebhook(except ...string) (queue.DueWebhook, bool) {
	b.Helper()
	due, found, err := b.NextWebhook(b.Context(), except)
	b.ok(err)
	return due, found
}

func (b *bench) claimWebhook(id string) queue.Delivery {
	b.Helper()
	d, err := b.ClaimWebhook(b.Context(), id)
	b.ok(err)
	return d
}

// Whatever ends a job makes its webhook due, and nothing before.
func webhookIsDue(b *bench) {
	for name, end := range map[string]func(j queue.Job) apigpu.Status{
		"success": func(j queue.Job) apigpu.Status {
			b.ok(b.Complete(b.Context(), b.claim(j.ID).Lease(), outcome(j.ID)))
			return apigpu.Succeeded
		},
		"failure": func(j queue.Job) apigpu.Status {
			b.ok(b.Fail(b.Context(), b.claim(j.ID).Lease(), why()))
			return apigpu.Failed
		},
		"too many attempts": func(j queue.Job) apigpu.Status {
			for range 3 {
				_, err := b.Requeue(b.Context(), b.claim(j.ID).Lease(), queue.Setback{Why: why(), Blamed: true})
				b.ok(err)
			}
			return apigpu.Failed
		},
		"cancel while it waits": func(j queue.Job) apigpu.Status {
			_, err := b.Cancel(b.Context(), j.ID)
			b.ok(err)
			return apigpu.JobCanceled
		},
		"cancel while it runs": func(j queue.Job) apigpu.Status {
			running := b.claim(j.ID)
			_, err := b.Cancel(b.Context(), j.ID)
			b.ok(err)
			b.ok(b.Cancelled(b.Context(), running.Lease()))
			return apigpu.JobCanceled
		},
		"cancel and a lost machine": func(j queue.Job) apigpu.Status {
			running := b.claim(j.ID)
			_, err := b.Cancel(b.Context(), j.ID)
			b.ok(err)
			_, err = b.Requeue(b.Context(), running.Lease(), queue.Setback{Why: why()})
			b.ok(err)
			return apigpu.JobCanceled
		},
		"waited too long": func(j queue.Job) apigpu.Status {
			b.clock.Advance(waitFor + time.Minute)
			b.ok(b.Expire(b.Context()))
			return apigpu.JobExpired
		},
	} {
		j := b.hooked("n8n.example")
		if got := b.get(j.ID).Webhook; got == nil || got.Status != apigpu.WebhookPending || got.NextAt != nil {
			b.Errorf("%s: before the end it shows %+v", name, got)
		}
		if _, found := b.dueWebhook(); found {
			b.Errorf("%s: a webhook is due before the end", name)
		}
		_, err := b.ClaimWebhook(b.Context(), j.ID)
		b.want(err, apigpu.Conflict)
		status := end(j)
		ended := b.is(j.ID, status)
		if due, found := b.dueWebhook(); !found || due.JobID != j.ID || !due.At.Equal(*ended.FinishedAt) {
			b.Errorf("%s: due is %+v, %v", name, due, found)
		}
		if w := ended.Webhook; w.NextAt == nil || !w.NextAt.Equal(*ended.FinishedAt) {
			b.Errorf("%s: shows %+v", name, w)
		}
		if n, err := b.PendingWebhooks(b.Context()); err != nil || n != 1 {
			b.Errorf("%s: %d pending, %v", name, n, err)
		}
		d := b.claimWebhook(j.ID)
		if d.Try != 1 || d.Host != "n8n.example" || d.Job.WebhookURL != "https://n8n.example/hook?sig=s3cret" || d.Job.Base != "https://video.example" {
			b.Errorf("%s: delivery %+v", name, d)
		}
		b.ok(b.RecordWebhook(b.Context(), d, queue.WebhookOutcome{Status: apigpu.WebhookDelivered}))
		if _, found := b.dueWebhook(); found {
			b.Errorf("%s: due after it was delivered", name)
		}
		if w := b.get(j.ID).Webhook; w.Status != apigpu.WebhookDelivered || w.Tries != 1 || w.NextAt != nil {
			b.Errorf("%s: shows %+v", name, w)
		}
	}
	// A job without one has none.
	b.ok(b.Fail(b.Context(), b.running().Lease(), why()))
	if _, found := b.dueWebhook(); found {
		b.Error("a job without a webhook has one due")
	}
}

// One sends at a time; who goes silent loses the try, and cannot record it.
func webhookLease(b *bench) {
	j := b.hooked("n8n.example")
	b.ok(b.Fail(b.Context(), b.claim(j.ID).Lease(), why()))
	first := b.claimWebhook(j.ID)
	other := queue.New(b.reopen(), b.clock.Now)
	_, err := other.ClaimWebhook(b.Context(), j.ID)
	b.want(err, apigpu.Conflict)
	b.clock.Advance(30 * time.Second)
	second, err := other.ClaimWebhook(b.Context(), j.ID)
	b.ok(err)
	if second.Try != 2 {
		b.Errorf("try %d follows 1", second.Try)
	}
	b.want(b.RecordWebhook(b.Context(), first, queue.WebhookOutcome{Status: apigpu.WebhookFailed}), apigpu.StaleAttempt)
	next := b.clock.Now().Add(time.Hour)
	before := b.get(j.ID).Revision
	b.ok(other.RecordWebhook(b.Context(), second, queue.WebhookOutcome{Status: apigpu.WebhookPending, Error: "busy", Next: next}))
	got := b.get(j.ID)
	if w := got.Webhook; w.Status != apigpu.WebhookPending || w.LastError != "busy" || w.Tries != 2 || !w.NextAt.Equal(next) || got.Revision != before {
		b.Errorf("shows %+v, revision %d → %d", w, before, got.Revision)
	}
	_, err = b.ClaimWebhook(b.Context(), j.ID)
	b.want(err, apigpu.Conflict)
	b.clock.Advance(time.Hour)
	third := b.claimWebhook(j.ID)
	b.ok(b.RecordWebhook(b.Context(), third, queue.WebhookOutcome{Status: apigpu.WebhookFailed, Error: "gone"}))
	b.want(b.RecordWebhook(b.Context(), third, queue.WebhookOutcome{Status: apigpu.WebhookDelivered}), apigpu.StaleAttempt)
	// A deleted job tells nobody.
	last := b.hooked("n8n.example")
	b.ok(b.Fail(b.Context(), b.claim(last.ID).Lease(), why()))
	_, err = b.Delete(b.Context(), last.ID)
	b.ok(err)
	if _, found := b.dueWebhook(); found {
		b.Error("due for a deleted job")
	}
}

// The one that is due first comes first, and hosts can be left out.
func webhookOrder(b *bench) {
	var ids []string
	for _, host := range []string{"Slow.example:8443", "slow.example:8443", "quick.example"} {
		j := b.hooked(host)
		b.ok(b.Fail(b.Context(), b.claim(j.ID).Lease(), why()))
		b.clock.Advance(time.Second)
		ids = append(ids, j.ID)
	}
	for _, c := range []struct {
		except []string
		want   string
	}{
		{nil, ids[0]}, {[]string{"other.example"}, ids[0]}, {[]string{"slow.example:8443"}, ids[2]},
		{[]string{"slow.example:8443", "quick.example"}, ""},
	} {
		if due, found := b.dueWebhook(c.except...); due.JobID != c.want || found != (c.want != "") {
			b.Errorf("without %q: %v, want %q", c.except, due, c.want)
		}
	}
	d := b.claimWebhook(ids[0])
	if due, _ := b.dueWebhook(); due.JobID != ids[1] {
		b.Errorf("after a claim: %v", due)
	}
	// A retry has its turn by its own time, before what ended after it.
	b.ok(b.RecordWebhook(b.Context(), d, queue.WebhookOutcome{Status: apigpu.WebhookPending, Next: b.clock.Now().Add(-1500 * time.Millisecond)}))
	b.claimWebhook(ids[1])
	if due, _ := b.dueWebhook(); due.JobID != ids[0] {
		b.Errorf("a retry is pushed aside by %v", due)
	}
}
