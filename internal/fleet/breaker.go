package fleet

import "time"

// Stop is a reason to rent nothing for a while.
type Stop struct {
	// Code is stable: egress_ip_mismatch, image, funds, auth, budget.
	Code   string
	Reason string // for people
	// Until is when it is tried again; zero where only the operator can help.
	Until time.Time
}
