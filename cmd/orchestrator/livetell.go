package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/show"
	"github.com/api-gpu/api-gpu/internal/trial"
)

// tell shows times, cost and verdicts. Its error is that of the trial, and of
// what was seen to be otherwise than we rely on.
func (t *liveTrial) tell(r trial.Report, runErr error) error {
	show.Lines(t.out, "")
	if err := show.Table(t.out, liveTimesTable(r)); err != nil {
		return err
	}
	show.Lines(t.out, "", "Cost: "+liveCost(r), "")
	verdicts := trial.Judge(r.Observed)
	rows := [][]string{{"RESULT", "WE RELY ON", "SEEN"}}
	for _, v := range verdicts {
		rows = append(rows, []string{string(v.Result), v.Behaviour, v.Detail})
	}
	if err := show.Table(t.out, rows); err != nil {
		return err
	}
	var all []error
	if r.Left != nil {
		all = append(all, fmt.Errorf("SOMETHING MAY STILL BE RENTED, and end it: %s (%w)", t.sweepCommand(), r.Left))
	}
	switch {
	case errors.Is(runErr, context.Canceled) && r.Left == nil:
		all = append(all, fmt.Errorf("broken off, and nothing is left rented: %w", runErr))
	case runErr != nil:
		all = append(all, runErr)
	}
	if failed := trial.Failed(verdicts); len(failed) > 0 {
		all = append(all, fmt.Errorf("not as we rely on: %s", strings.Join(failed, "; ")))
	}
	return errors.Join(all...)
}

// liveTimesTable is what the machine did when, in seconds since its create
// call.
func liveTimesTable(r trial.Report) [][]string {
	rows := [][]string{{"AFTER", "WHAT"}}
	for _, moment := range []struct {
		at   time.Duration
		what string
	}{
		{r.Answered, "create answered"}, {r.Listed, "first listed"}, {r.Running, "container running"}, {r.Address, "address known"},
		{r.Heard, "first answer of the worker"}, {r.Ready, "encoder proven"}, {r.Done, "job done"}, {r.Renewed, "lease renewed for the last time"},
		{r.Absent, "no longer listed"}, {r.Gone, "gone, proven"},
	} {
		at := "never"
		if moment.at > 0 {
			at = fmt.Sprintf("%.1f s", moment.at.Seconds())
		}
		rows = append(rows, []string{at, moment.what})
	}
	return rows
}

// liveCost is what it cost: as we measure it, and as the account was charged.
func liveCost(r trial.Report) string {
	s := fmt.Sprintf("%s by our own measure", r.Estimate)
	switch {
	case r.Charge != nil:
		s += fmt.Sprintf(", %s charged until now (GPU %s, disk %s, into it %s, out of it %s%s)", r.Charge.Total(),
			r.Charge.GPU, r.Charge.Disk, r.Charge.Down, r.Charge.Up, other(r.Charge.Other))
	case r.ChargeFault != "":
		s += "; the account does not tell its charges: " + r.ChargeFault
	case r.Gone > 0:
		s += "; the charges were not there in time"
	}
	return s
}

func other(u gpu.USD) string {
	if u == 0 {
		return ""
	}
	return ", other " + u.String()
}
