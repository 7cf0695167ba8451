package show

import (
	"fmt"
	"io"

	"github.com/api-gpu/api-gpu"
)

// marks are how checks are told apart at a glance.
var marks = map[apigpu.CheckStatus]string{
	apigpu.CheckOK: "✓", apigpu.CheckWarning: "!", apigpu.CheckFailed: "✗", apigpu.CheckSkipped: "-",
}

// Checks writes what a doctor found: a line each, and below it what to do.
func Checks(w io.Writer, checks []apigpu.Check) {
	for _, c := range checks {
		mark, known := marks[c.Status]
		if !known { // of a newer server
			mark = "?"
		}
		Lines(w, fmt.Sprintf("%s %-10s  %s", mark, c.Name, c.Message))
		if c.Hint != "" {
			Lines(w, fmt.Sprintf("  %-10s  %s", "", c.Hint))
		}
	}
}
