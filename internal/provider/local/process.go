package local

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// identity is a process that is never mistaken for another: pids are used
// again, the pair is not.
type identity struct {
	pid int
	// start is when the process started, in the system's own words.
	start string
}

// process is what the kernel says of one that has a pid now.
type process struct {
	start  string
	zombie bool // it ended, and its parent has not asked how
}

// parseRecord reads what recordScript wrote: a line with the pid, and one
// with the system's words, from which startOf takes the start. It returns
// os.ErrNotExist while the last line has not ended.
func parseRecord(text string) (identity, error) {
	first, words, found := strings.Cut(text, "\n")
	if !found || !strings.HasSuffix(words, "\n") {
		return identity{}, fmt.Errorf("read record of process: not all there: %w", os.ErrNotExist)
	}
	pid, err := strconv.Atoi(first)
	// 0 and 1 as a group to kill would mean our own, or everybody's.
	if err != nil || pid < 2 {
		return identity{}, fmt.Errorf("read record of process: pid %q", first)
	}
	start, err := startOf(strings.TrimSpace(words))
	if err != nil {
		return identity{}, fmt.Errorf("read record of process: %w", err)
	}
	return identity{pid: pid, start: start}, nil
}
