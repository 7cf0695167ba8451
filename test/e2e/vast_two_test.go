package e2e

import (
	"testing"
	"time"

	"github.com/api-gpu/api-gpu/internal/db/dbtest"
	"github.com/api-gpu/api-gpu/internal/vastsim"
	"github.com/api-gpu/api-gpu/test/need"
)

// TestVastTwo lets two orchestrators on one PostgreSQL rent from one market,
// and kills the one that leads in the middle: all jobs succeed, nothing is
// rented twice or left, and together they rent, list and end no more often than
// one may. Only a search may come too early: the one that does not lead looks
// for the price of a job that it is asked for, and knows of no other's search.
func TestVastTwo(t *testing.T) {
	need.Long(t)
	t.Parallel()
	base := clip(t, 20)
	dir := t.TempDir()
	first := newRentalIn(t, dir, quickBoot, "", "DATABASE_URL="+dbtest.PostgresURL(t), "SHARED_FILES=1", "MAX_GPUS=2", "MAX_WAIT=5s")
	first.run()
	first.leads()
	second := &rental{newServer(t, dir, first.env), first.market, first.wire}
	t.Cleanup(second.end)
	second.run()
	second.becomes("member", 20*time.Second)
	var ids []string
	for n := range 6 {
		ids = append(ids, []*rental{first, second}[n%2].submit(base+"/v.mp4", base+"/s.srt").ID)
	}
	second.until(ids[0], "it renders", renders)
	first.kill()
	second.becomes("leader", afterKill+busy)
	for _, id := range ids {
		done := second.final(id, 3*time.Minute)
		if second.done(done); done.Attempt != 1 {
			t.Errorf("attempt %d, want the first to go on", done.Attempt)
		}
	}
	second.over(time.Minute, vastsim.TooOften+" search")
	second.createdOnce()
	if n := len(second.market.ours()); n > 2 {
		t.Errorf("%d instances were rented, want at most 2", n)
	}
}
