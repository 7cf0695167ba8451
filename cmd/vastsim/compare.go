package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/api-gpu/api-gpu/internal/show"
	"github.com/api-gpu/api-gpu/internal/transcript"
	"github.com/api-gpu/api-gpu/internal/vastsim"
)

// compare tells how this market differs from what a transcript shows. Its error
// means that something differs that we rely on.
func compare(path string, out io.Writer) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("--compare: %w", err)
	}
	defer file.Close()
	head, calls, err := transcript.Read(file)
	if err != nil {
		return fmt.Errorf("--compare: %w", err)
	}
	c, err := vastsim.Compare(calls)
	if err != nil {
		return fmt.Errorf("--compare: %w", err)
	}
	show.Lines(out, fmt.Sprintf("%d calls, written by version %s.", c.Calls, head.Version))
	if head.Lost > 0 {
		show.Lines(out, fmt.Sprintf("%d more were not kept.", head.Lost))
	}
	for _, why := range slices.Sorted(maps.Keys(c.Skipped)) {
		show.Lines(out, fmt.Sprintf("Not compared: %d, since %s.", c.Skipped[why], why))
	}
	if len(c.Differences) == 0 {
		show.Lines(out, "No difference of shape.")
		return nil
	}
	rows := [][]string{{"RELIED ON", "CALL", "WHERE", "REAL", "HERE"}}
	for _, d := range c.Differences {
		relied := "no"
		if d.Relied {
			relied = "YES"
		}
		rows = append(rows, []string{relied, d.Call, d.Path, d.Real, d.Ours})
	}
	if err := show.Table(out, rows); err != nil {
		return err
	}
	if n := len(c.Relied()); n > 0 {
		return fmt.Errorf("%d of %d differences are in what we rely on", n, len(c.Differences))
	}
	show.Lines(out, "None of it is relied on.")
	return nil
}
