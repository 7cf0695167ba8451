package apigpu

import "time"

// Diagnosis is what orchestrator doctor and GET /doctor found: whether a server
// with its settings can do its work, and what to do where it cannot.
type Diagnosis struct {
	Version string    `json:"version" doc:"Of the program that looked"`
	Time    time.Time `json:"time" doc:"When it looked"`
	// Checks are in the order in which one would mend them.
	Checks []Check `json:"checks" doc:"What was looked at, in the order in which one would mend it"`
}

// Check is one thing that was looked at.
type Check struct {
	Name    string      `json:"name" doc:"What was looked at" example:"credit"`
	Status  CheckStatus `json:"status" enum:"ok,warning,failed,skipped" doc:"failed: it does not work as it is; skipped: it does not apply, or could not be asked"`
	Message string      `json:"message" doc:"What was found"`
	Hint    string      `json:"hint,omitempty" doc:"The setting or the command that helps"`
}

// CheckStatus is how a check came out.
type CheckStatus string

// The ways in which a check comes out.
const (
	CheckOK      CheckStatus = "ok"
	CheckWarning CheckStatus = "warning" // it works, and should be looked after
	CheckFailed  CheckStatus = "failed"  // it does not work as it is
	CheckSkipped CheckStatus = "skipped" // it does not apply, or could not be asked
)

// Failed counts the checks that failed.
func (d Diagnosis) Failed() (n int) {
	for _, c := range d.Checks {
		if c.Status == CheckFailed {
			n++
		}
	}
	return n
}
