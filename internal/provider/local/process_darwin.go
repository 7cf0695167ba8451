package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// recordScript writes the pid, and the state and start of the process in the
// words of ps(1): "S+   Fri Jan  2 15:04:05 2026". The time zone and language
// are fixed, so that the words stay the same.
const recordScript = `words=$(TZ=UTC LC_ALL=C /bin/ps -o stat= -o lstart= -p $$) && ` +
	`printf '%s\n%s\n' "$$" "$words" >` + recordFile

// psTimeout bounds one run of ps.
const psTimeout = 5 * time.Second

// startOf takes the five words of the time from the words of ps.
func startOf(words string) (string, error) {
	fields := strings.Fields(words)
	if len(fields) != 6 {
		return "", fmt.Errorf("%q is no answer of ps", words)
	}
	return strings.Join(fields[1:], " "), nil
}

// inspect looks at the process that has this pid now.
func inspect(ctx context.Context, pid int) (p process, found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, psTimeout)
	defer cancel()
	ps := exec.CommandContext(ctx, "/bin/ps", "-o", "stat=", "-o", "lstart=", "-p", strconv.Itoa(pid))
	ps.Env = append(os.Environ(), "TZ=UTC", "LC_ALL=C")
	words, err := ps.Output()
	if ctx.Err() != nil {
		return p, false, ctx.Err()
	}
	// ps exits with 1 and prints nothing where there is no such process.
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == 1 && len(words) == 0 {
		return p, false, nil
	}
	if err != nil {
		return p, false, fmt.Errorf("run ps: %w", err)
	}
	start, err := startOf(string(words))
	return process{start: start, zombie: strings.HasPrefix(string(words), "Z")}, true, err
}
