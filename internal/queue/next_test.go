package queue_test

import (
	"slices"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// next holds what may be claimed: the oldest first, and no more than is asked
// for, however many there are.
func next(b *bench) {
	running, canceled := b.submit(), b.submit()
	var ids []string
	for range 4 {
		ids = append(ids, b.submit().ID)
		b.clock.Advance(time.Second)
	}
	b.claim(running.ID)
	_, err := b.Cancel(b.Context(), canceled.ID)
	b.ok(err)
	for most, want := range map[int][]string{10: ids, 4: ids, 3: ids[:3], 0: nil} {
		jobs, err := b.Next(b.Context(), most)
		b.ok(err)
		var got []string
		for _, j := range jobs {
			got = append(got, j.ID)
		}
		if !slices.Equal(got, want) {
			b.Errorf("next %d: got %v, want %v", most, got, want)
		}
	}
	small := b.submit(func(d *queue.Draft) { d.Room = 1 })
	large := b.submit(func(d *queue.Draft) { d.Room = 1 << 40 })
	jobs, err := b.Smallest(b.Context(), 10)
	if b.ok(err); len(jobs) != 6 || jobs[4].ID != small.ID || jobs[5].ID != large.ID {
		b.Errorf("smallest: %d jobs", len(jobs))
	}
	jobs, err = b.Running(b.Context())
	b.ok(err)
	if len(jobs) != 1 || jobs[0].ID != running.ID {
		b.Errorf("%d jobs run", len(jobs))
	}
	b.clock.Advance(waitFor)
	if jobs, err := b.Next(b.Context(), 10); err != nil || len(jobs) != 0 {
		b.Errorf("%d jobs whose waiting is over, %v", len(jobs), err)
	}
}

// noted tells a note once, and to those who wait only.
func noted(b *bench) {
	watch := b.Watch()
	j := b.submit()
	<-watch
	b.ok(b.Note(b.Context(), "a worker is starting"))
	b.ok(b.Note(b.Context(), "a worker is starting"))
	if got := b.get(j.ID); got.PhaseNote != "a worker is starting" || got.Revision != j.Revision+1 {
		b.Errorf("note %q, revision %d after %d", got.PhaseNote, got.Revision, j.Revision)
	}
	b.ok(b.Note(b.Context(), ""))
	if got := b.get(j.ID).PhaseNote; got != "" {
		b.Errorf("note %q stays", got)
	}
	select {
	case <-watch:
		b.Error("a note woke those who decide")
	default:
	}
}

// deletedSubtitle holds that the subtitle file goes with its job.
func deletedSubtitle(b *bench) {
	j := b.submit()
	_, err := b.Cancel(b.Context(), j.ID)
	b.ok(err)
	_, err = b.Delete(b.Context(), j.ID)
	b.ok(err)
	var left int
	b.ok(b.db.Read().QueryRowContext(b.Context(), `SELECT count(*) FROM subtitles`).Scan(&left))
	if left != 0 {
		b.Errorf("%d subtitle files are left", left)
	}
	_, err = b.Subtitle(b.Context(), j.ID)
	b.want(err, apigpu.JobNotFound)
}
