package queue

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/db"
)

// columns are read in this order by scan.
const columns = `id, client, operation, status, phase, phase_note, progress, revision, spec, upload, push, captions, warnings, stats,
	video, error, result, created_at, started_at, finished_at, waiting_until, run_for, keep_for, running_until, expires_at, link_until,
	attempt, blamed, owner, lease_until, instance, slot, cancel_requested,
	base, webhook_url, webhook_status, webhook_tries, webhook_error, webhook_due, room, evicted, cost_usd, cost_state, fonts`

// splitKeys reads a list of keys of the store.
func splitKeys(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}

type scanner interface{ Scan(dest ...any) error }

func (q *Queue) scan(row scanner) (Job, error) {
	var (
		j                                         Job
		spec, captions, warnings, stats           string
		video, failure, owner, instance           sql.NullString
		created, waiting, runFor, keepFor         int64
		expires, link                             int64
		started, finished, runningUntil, leaseEnd sql.NullInt64
		slot                                      sql.NullInt64
		push, cancel, evicted                     int
		webhook                                   apigpu.Webhook
		webhookDue                                sql.NullInt64
		cost                                      int64
		costState                                 apigpu.CostState
		fonts                                     string
	)
	err := row.Scan(&j.ID, &j.Client, &j.Operation, &j.Status, &j.Phase, &j.PhaseNote, &j.Progress, &j.Revision, &spec, &j.Upload, &push,
		&captions, &warnings, &stats, &video, &failure, &j.Result, &created, &started, &finished, &waiting, &runFor, &keepFor,
		&runningUntil, &expires, &link, &j.Attempt, &j.Blamed, &owner, &leaseEnd, &instance, &slot, &cancel,
		&j.Base, &j.WebhookURL, &webhook.Status, &webhook.Tries, &webhook.LastError, &webhookDue, &j.Room, &evicted, &cost, &costState, &fonts)
	if err != nil {
		return Job{}, err
	}
	j.Captions = &apigpu.Captions{}
	for _, field := range []struct {
		raw  string
		into any
	}{
		{spec, &j.Spec}, {captions, j.Captions}, {warnings, &j.Warnings}, {stats, &j.Stats}, {video.String, &j.Video}, {failure.String, &j.Error},
	} {
		if field.raw == "" {
			continue
		}
		if err := json.Unmarshal([]byte(field.raw), field.into); err != nil {
			j.Damaged = errors.Join(j.Damaged, fmt.Errorf("read row: %w", err))
		}
	}
	if j.Stats.CostUSD, j.Stats.CostState = 0, costState; costState != "" {
		j.Stats.CostUSD = apigpu.Nanodollars(cost)
	}
	j.Fonts = splitKeys(fonts)
	j.Object, j.Filename, j.Thumbnail = "job", j.Spec.Output.Filename, j.Spec.Output.Thumbnail != nil
	j.Push, j.CancelRequested, j.Evicted = push != 0, cancel != 0, evicted != 0
	j.Owner, j.Instance, j.Slot = owner.String, instance.String, int(slot.Int64)
	j.CreatedAt, j.WaitingUntil, j.ExpiresAt, j.LinkUntil = db.Time(created), db.Time(waiting), db.Time(expires), db.Time(link)
	j.RunFor, j.KeepFor = time.Duration(runFor)*time.Millisecond, time.Duration(keepFor)*time.Millisecond
	j.StartedAt, j.FinishedAt = maybe(started), maybe(finished)
	if runningUntil.Valid {
		j.RunningUntil, j.LeaseUntil = db.Time(runningUntil.Int64), db.Time(leaseEnd.Int64)
	}
	if webhook.Status != "" {
		if j.FinishedAt != nil && webhookDue.Valid {
			next := db.Time(max(webhookDue.Int64, finished.Int64))
			webhook.NextAt = &next
		}
		j.Webhook = &webhook
	}
	j.ETASeconds = eta(j.Job, q.now())
	return j, nil
}

// eta guesses the seconds until a running job's end: as fast as so far. It is
// nil while there is too little to judge by.
func eta(j apigpu.Job, now time.Time) *float64 {
	const enough = 2 // percent
	if j.Status != apigpu.Running || j.StartedAt == nil || j.Progress < enough {
		return nil
	}
	left := now.Sub(*j.StartedAt).Seconds() * (100 - j.Progress) / j.Progress
	left = max(0, float64(int(left*10))/10)
	return &left
}

func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil { // wire types only: plain structs that always encode
		return "null"
	}
	return string(b)
}

func maybe(ms sql.NullInt64) *time.Time {
	if !ms.Valid {
		return nil
	}
	t := db.Time(ms.Int64)
	return &t
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}
