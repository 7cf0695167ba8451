package fleet

import (
	"database/sql"
)

// mutant names a safety that a world lacks, to see which rule that breaks. No
// switch in the program serves it: each is taken away where the program meets
// the world.
type mutant string

const (
	nothingLacks   mutant = ""
	intent         mutant = "intent row"            // no row of a new instance is kept
	blindRetry     mutant = "no blind retry"        // a create without an answer is sent again
	completeRule   mutant = "complete-listing rule" // every listing is said to be complete
	listingLag     mutant = "listing lag"           // what is missing at once is believed
	absenceGap     mutant = "two listings apart"    // two listings a moment apart are believed
	fence          mutant = "fencing by epoch"      // who believes to hold the lease, holds it
	deadMansSwitch mutant = "dead man's switch"     // no worker ends itself
	foreignRule    mutant = "labels of others"      // every label reads as ours
)

// unfence gives the lease to a process that believes to have it.
func (p *orchestrator) unfence() {
	p.mu.Lock()
	epoch := p.epoch
	p.mu.Unlock()
	if p.w.lack == fence && epoch != 0 && !p.dead {
		p.w.as(nil, func() {
			p.w.exec(`UPDATE fleet SET epoch = $1, holder = $2, lease_until = $3`, epoch, p.holder, millis(p.steady.Now().Add(leaseFor)))
		})
	}
}

func (w *world) exec(statement string, args ...any) {
	before := w.runs
	w.runs = nil
	defer func() { w.runs = before }()
	err := w.db.Tx(w.ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(statement, args...)
		return err
	})
	if err != nil {
		w.fault("database", "%s: %v", statement, err)
	}
}
