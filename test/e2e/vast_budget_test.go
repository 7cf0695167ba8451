package e2e

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/vastsim"
	"github.com/api-gpu/api-gpu/test/need"
)

// dear is a market with one offer, and quickly ended machines: so that what a
// job costs is much of what must be reserved for it.
const dear = quickBoot + `,"offers":[{"dph_base":0.9,"machine_id":101,"host_id":11}]`

// brief are settings by which little is reserved.
var brief = []string{"BOOT_TIMEOUT=20s", "LEASE=1m", "JOB_TIMEOUT=1m", "MAX_UPLOAD=1MiB"}

var enough = regexp.MustCompile(`set BUDGET_[A-Z]+_USD to ([0-9.]+) or more`)

// refused asks for a job that no budget allows, and returns the least value
// that would.
func (r *rental) refused(base string) float64 {
	r.t.Helper()
	var problem struct {
		Code apigpu.Code
		Hint string
	}
	status := r.post("?wait=0", map[string]any{"url_video": base + "/v.mp4", "url_srt": base + "/s.srt"}, &problem)
	if status != http.StatusUnprocessableEntity || problem.Code != apigpu.BudgetExceeded {
		r.t.Fatalf("status %d, %+v, want 422 budget_exceeded", status, problem)
	}
	said := enough.FindStringSubmatch(problem.Hint)
	if said == nil {
		r.t.Fatalf("hint %q says no value", problem.Hint)
	}
	value, err := strconv.ParseFloat(said[1], 64)
	if err != nil {
		r.t.Fatal(err)
	}
	return value
}

// with starts the orchestrator again with other settings.
func (r *rental) with(env ...string) {
	r.t.Helper()
	r.terminate()
	r.env = append(r.env, env...)
	r.run()
	r.leads()
}

func dollars(v float64) string { return strconv.FormatFloat(v, 'f', 9, 64) }

// TestVastBudgetDay: a job that fits into no day is refused, with the value
// that would do; with that value it runs. The next one does not fit beside what
// was spent: it waits, and everybody is told. With a greater budget it runs.
func TestVastBudgetDay(t *testing.T) {
	need.Long(t)
	t.Parallel()
	base := clip(t, 8)
	r := rent(t, dear, append(brief, "BUDGET_DAY_USD=0.0001", "IDLE_TIMEOUT=1s")...)
	r.leads()
	least := r.refused(base)
	r.with("BUDGET_DAY_USD=" + dollars(least))
	first := r.submit(base+"/v.mp4", base+"/s.srt")
	r.done(r.final(first.ID, time.Minute))
	r.over(time.Minute, vastsim.TooOften) // by the restarts, of which it knows nothing
	second := r.submit(base+"/v.mp4", base+"/s.srt")
	r.stopped("budget", second.ID, "would be enough")
	if n := len(r.market.calls("create")); n != 1 {
		t.Errorf("%d creates, want 1", n)
	}
	r.with("BUDGET_DAY_USD=" + dollars(2*least))
	r.done(r.final(second.ID, 3*time.Minute))
	r.goesOn()
	r.over(time.Minute, vastsim.TooOften)
	r.createdOnce()
}

// TestVastBudgetJob: a job that no machine runs within BUDGET_JOB_USD is
// refused, with the value that would do. With that value it begins, and ends
// when it has cost that much; its machine goes.
func TestVastBudgetJob(t *testing.T) {
	need.Soak(t)
	t.Parallel()
	base := clip(t, 150)
	tools := pacer(t)
	write(t, tools, "slow", "")
	r := newRental(t, dear, tools, "BOOT_TIMEOUT=20s", "LEASE=1m", "MAX_UPLOAD=50MiB", "BUDGET_JOB_USD=0.0001")
	r.run()
	r.leads()
	least := r.refused(base)
	r.with("BUDGET_JOB_USD=" + dollars(least))
	job := r.submit(base+"/v.mp4", base+"/s.srt")
	r.until(job.ID, "it renders", renders)
	done := r.final(job.ID, 3*time.Minute)
	if done.Error == nil || done.Error.Code != apigpu.BudgetExceeded {
		t.Fatalf("the job is %s: %v", done.Status, done.Error)
	}
	eventually(t, need.Slack*2*time.Second, "no FFmpeg runs", func() bool { return r.encoders() == 0 })
	r.over(time.Minute, vastsim.TooOften)
	job, err := r.client().Job(t.Context(), job.ID, 0)
	if err != nil {
		t.Fatal(err)
	}
	if cost := float64(job.Stats.CostUSD); cost <= 0 || cost > least {
		t.Errorf("it cost $%s of $%s", dollars(cost), dollars(least))
	}
	if !strings.Contains(done.Error.Hint, "BUDGET_JOB_USD") {
		t.Errorf("hint %q", done.Error.Hint)
	}
}
