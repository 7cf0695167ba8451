package e2e

import (
	"testing"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/test/need"
)

// TestVastMany sends 20 jobs at once to an orchestrator that may rent one
// machine, or five: all succeed, there are never more machines than that, and
// nothing is left. What the jobs cost, and what no job is there for, is what
// the machines cost, to the nanodollar; and that is the market's own bill.
func TestVastMany(t *testing.T) {
	need.Long(t)
	t.Parallel()
	for most, settings := range map[int][]string{
		1: nil,
		5: {"MAX_WAIT=1s"},
	} {
		if most > 1 && !soaks() {
			continue
		}
		t.Run(itoa(most), func(t *testing.T) {
			t.Parallel()
			const jobs = 20
			seconds, tools := 4, pacer(t)
			if most > 1 { // else one machine would have done all before others boot
				seconds = 20
				write(t, tools, "slow", "")
			}
			base := clip(t, seconds)
			r := newRental(t, quickBoot+`,"offers":[`+offers(8)+`]`, tools, append(settings, "MAX_GPUS="+itoa(most), "BUDGET_DAY_USD=50")...)
			r.run()
			r.leads()
			ids := map[string]bool{}
			for range jobs {
				ids[r.submit(base+"/v.mp4", base+"/s.srt").ID] = true
			}
			seen := 0
			eventually(t, 5*time.Minute, "all jobs have ended", func() bool {
				alive := len(r.market.alive())
				if alive > most {
					t.Errorf("%d instances are alive", alive)
				}
				seen = max(seen, alive)
				return r.open() == 0
			})
			for id := range ids {
				done := r.final(id, time.Minute)
				if r.done(done); done.Attempt != 1 {
					t.Errorf("attempt %d of %s, want 1", done.Attempt, id)
				}
			}
			if most > 1 && seen < 3 {
				t.Errorf("%d instances at once, want several", seen)
			}
			r.over(time.Minute)
			r.createdOnce()
			t.Logf("%d jobs on %d machines, %d at once", jobs, len(r.market.ours()), seen)
			if soaks() { // the bills come minutes later
				r.balanced()
			}
		})
	}
}

// offers are so many cheap ones, each of a machine and an owner of its own.
func offers(n int) (list string) {
	for i := range n {
		if i > 0 {
			list += ","
		}
		list += `{"dph_base":0.` + itoa(200+i) + `,"machine_id":` + itoa(101+i) + `,"host_id":` + itoa(11+i) + `}`
	}
	return list
}

// balanced waits until the bills of all machines are there, and compares what
// the jobs are said to cost with them: nothing is lost or counted twice.
func (r *rental) balanced() {
	r.t.Helper()
	ledger := r.ledger()
	sum := func(query string) (usd gpu.USD) {
		r.t.Helper()
		if err := ledger.QueryRow(query).Scan(&usd); err != nil {
			r.t.Fatal(err)
		}
		return usd
	}
	eventually(r.t, 6*time.Minute, "the bills are there", func() bool {
		return sum(`SELECT count(*) FROM instances WHERE cost_state <> 'final' AND provider_id <> ''`) == 0
	})
	var bill gpu.USD
	for _, i := range r.market.ours() {
		bill += i.Total
	}
	jobs, others := sum(`SELECT sum(cost_usd) FROM jobs`), sum(`SELECT coalesce(sum(usd), 0) FROM charges WHERE job_id = ''`)
	for what, usd := range map[string]gpu.USD{
		"the jobs and what no job was there for": jobs + others,
		"the parts":                              sum(`SELECT sum(usd) FROM charges`),
		"the machines":                           sum(`SELECT sum(cost_usd) FROM instances`),
	} {
		if usd != bill {
			r.t.Errorf("%s cost %s, and the bill is %s", what, usd.Exact(), bill.Exact())
		}
	}
}
