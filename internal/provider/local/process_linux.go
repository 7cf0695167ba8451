package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// Where the kernel tells one boot, and one process, from another; see
// proc_pid_stat(5) and proc_sys_kernel(5).
const bootFile = "/proc/sys/kernel/random/boot_id"

// recordScript writes pid, boot id and /proc/pid/stat, with built-ins only.
// What is copied is read by the same code as the original, so that the two
// cannot differ.
const recordScript = `read -r boot <` + bootFile + ` && read -r stat </proc/$$/stat && ` +
	`printf '%s\n%s %s\n' "$$" "$boot" "$stat" >` + recordFile

// startOf reads a boot id and a line of /proc/pid/stat. The start is the boot
// id and field 22, in clock ticks since the boot: without the first, a
// process of another boot could have the same.
func startOf(words string) (string, error) {
	boot, stat, _ := strings.Cut(words, " ")
	fields, err := afterName(stat)
	if err != nil {
		return "", err
	}
	return boot + "/" + fields[22-3], nil
}

// afterName returns the fields of a line of /proc/pid/stat from the third on:
// the state, one letter. The second is the name of the program in brackets,
// in which there may be spaces and brackets too.
func afterName(stat string) ([]string, error) {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 22-2 {
		return nil, fmt.Errorf("%q is no line of /proc/pid/stat", stat)
	}
	return fields, nil
}

// inspect looks at the process that has this pid now.
func inspect(_ context.Context, pid int) (p process, found bool, err error) {
	boot, err := os.ReadFile(bootFile)
	if err != nil {
		return p, false, fmt.Errorf("read boot id: %w", err)
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	// ESRCH: it ended between open and read.
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return p, false, nil
	}
	if err != nil {
		return p, false, fmt.Errorf("read process: %w", err)
	}
	fields, err := afterName(string(stat))
	if err != nil {
		return p, false, err
	}
	start, err := startOf(strings.TrimSpace(string(boot)) + " " + string(stat))
	// X is a process in its last moment, in none of which it can do anything.
	return process{start: start, zombie: fields[0] == "Z" || fields[0] == "X"}, true, err
}
