// Package show is how our programs write what they know for people.
package show

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/api-gpu/api-gpu"
)

// Clean removes control characters from text of others: a terminal acts on
// them.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
}

// Lines writes lines to people, without what a terminal would act on.
func Lines(w io.Writer, lines ...string) {
	for _, line := range lines {
		fmt.Fprintln(w, Clean(line)) // nobody to tell if it fails
	}
}

// Table writes rows of cells in columns, the first as their heads.
func Table(w io.Writer, rows [][]string) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = Clean(cell)
		}
		fmt.Fprintln(table, strings.TrimRight(strings.Join(cells, "\t"), "\t"))
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("write table: %w", err)
	}
	return nil
}

// JSON writes v for programs, indented for people who look.
func JSON(w io.Writer, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	_, err = fmt.Fprintf(w, "%s\n", text)
	return err
}

// Dollars is an amount, to a ten thousandth of a cent.
func Dollars(amount apigpu.Dollars) string { return fmt.Sprintf("$%.6f", float64(amount)) }

// Hourly is a price of an hour.
func Hourly(amount apigpu.Dollars) string { return fmt.Sprintf("$%.4f/h", float64(amount)) }

// Age is for how long something has been so: in its largest unit, and the one
// below.
func Age(d time.Duration) string {
	switch s := max(d, 0).Round(time.Second); {
	case s < time.Minute:
		return fmt.Sprintf("%d s", s/time.Second)
	case s < time.Hour:
		return fmt.Sprintf("%d min %d s", s/time.Minute, s%time.Minute/time.Second)
	case s < 48*time.Hour:
		return fmt.Sprintf("%d h %d min", s/time.Hour, s%time.Hour/time.Minute)
	default:
		return fmt.Sprintf("%d d %d h", s/(24*time.Hour), s%(24*time.Hour)/time.Hour)
	}
}

// clock is a moment, in UTC like everything that the server says.
func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// GPUs writes machines, their sums, and whatever wants attention.
func GPUs(w io.Writer, g apigpu.GPUs) error {
	if len(g.Data) == 0 {
		Lines(w, "No machines.")
	} else {
		rows := [][]string{{"ID", "STATE", "SINCE", "GPU", "JOBS", "PRICE", "COST", "AT MOST", "REASON"}}
		for _, m := range g.Data {
			rows = append(rows, []string{
				m.ID, state(m), Age(g.At.Sub(m.Since)), place(m.GPU, m.Country), fmt.Sprint(len(m.Jobs)),
				Hourly(m.HourlyUSD), Dollars(m.CostUSD), Dollars(m.WorstUSD), m.Reason,
			})
		}
		if err := Table(w, rows); err != nil {
			return err
		}
	}
	s := g.Summary
	Lines(w, "", fmt.Sprintf("Fleet %s: %s now, %s today, %s reserved. If its server dies now: %s at most, for all of them.",
		g.Fleet, Hourly(s.HourlyUSD), Dollars(s.TodayUSD), Dollars(s.ReservedUSD), Dollars(s.WorstUSD)))
	for _, m := range g.Data {
		if m.Why != "" {
			Lines(w, fmt.Sprintf("%s was rented because %s.", m.ID, strings.TrimSuffix(m.Why, ".")))
		}
	}
	if g.Role != "leader" && g.Plan == nil {
		Lines(w, "This was answered by a process that does not lead: it knows the ledger and what stops renting, and not what else is on the account.")
	}
	Lines(w, attention(g)...)
	return nil
}

// attention is what an operator may have to act on.
func attention(g apigpu.GPUs) (lines []string) {
	sweeps := map[string][]string{}
	for _, m := range g.Data {
		if m.Unprotected {
			sweeps[m.Sweep] = append(sweeps[m.Sweep], m.ID)
		}
	}
	for _, command := range slices.Sorted(maps.Keys(sweeps)) {
		line := "Not protected, since no worker has answered there yet: " + strings.Join(sweeps[command], ", ") + "."
		if command != "" {
			line += " If the server dies now, end it with: " + command
		}
		lines = append(lines, line)
	}
	for _, s := range g.Stops {
		line := fmt.Sprintf("Nothing is rented (%s): %s.", s.Code, strings.TrimSuffix(s.Reason, "."))
		if s.Detail != "" {
			line += " " + strings.TrimSuffix(s.Detail, ".") + "."
		}
		if s.Until != nil {
			line += " Tried again at " + clock(*s.Until) + "."
		}
		lines = append(lines, line)
	}
	for _, x := range g.Strays {
		lines = append(lines, fmt.Sprintf("Not in the ledger, and therefore ended: %s (%s).", x.ProviderID, x.Label))
	}
	for _, f := range g.Foreign {
		line := fmt.Sprintf("Not of this fleet, and not touched: %s (%s, %s).", f.ProviderID, f.Label, Hourly(f.HourlyUSD))
		if f.Sweep != "" {
			line += " To end its fleet: " + f.Sweep
		}
		lines = append(lines, line)
	}
	return lines
}

// state is where a machine is in its life, and what is odd about it.
func state(m apigpu.GPU) string {
	switch {
	case m.Ambiguous:
		return m.State + " (nobody answered)"
	case m.Permanent:
		return m.State + " (configured)"
	}
	return m.State
}

// place is a model, and where it stands.
func place(model, country string) string {
	switch {
	case model == "" && country == "":
		return "-"
	case country == "":
		return model
	}
	return strings.TrimSpace(model + " (" + country + ")")
}

// Plan writes what the next round would do.
func Plan(w io.Writer, p apigpu.GPUPlan) error {
	Lines(w, "The next round would:")
	for _, a := range p.Actions {
		what := a.Kind
		if a.ID != "" {
			what += " " + a.ID
		}
		Lines(w, fmt.Sprintf("  %s, because %s", what, a.Reason))
		var rows [][]string
		for _, o := range a.Offers {
			row := []string{"    offer " + o.ID, place(o.GPU, o.Country), Hourly(o.HourlyUSD), "", o.Why}
			if o.JobUSD > 0 {
				row[3] = Dollars(o.JobUSD) + " for the job"
			}
			rows = append(rows, row)
		}
		if err := Table(w, rows); err != nil {
			return err
		}
	}
	for _, k := range p.Kept {
		line := fmt.Sprintf("  keep %s, because %s", k.ID, k.Reason)
		if k.Until != nil {
			line += fmt.Sprintf(" (until %s, if nothing changes)", clock(*k.Until))
		}
		Lines(w, line)
	}
	if p.Nothing != "" {
		Lines(w, "  rent nothing, because "+p.Nothing)
	}
	return nil
}
