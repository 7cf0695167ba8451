package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// A path is the same to all that ask for it, in each way in which people write
// it.
func TestPlaces(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		want []place
	}{
		"default": {nil, []place{
			{"DATABASE_URL", "sqlite:data/api-gpu.db", "data/api-gpu.db", "data"}, {"STORAGE_URL", "file:data/files", "data/files", "data/files"}}},
		"as other addresses": {[]string{"--database-url=sqlite://x/y.db", "--storage-url=file://x/files"}, []place{
			{"DATABASE_URL", "sqlite://x/y.db", "x/y.db", "x"}, {"STORAGE_URL", "file://x/files", "x/files", "x/files"}}},
		"absolute": {[]string{"--database-url=sqlite:///x/y.db", "--storage-url=file:///x/files"}, []place{
			{"DATABASE_URL", "sqlite:///x/y.db", "/x/y.db", "/x"}, {"STORAGE_URL", "file:///x/files", "/x/files", "/x/files"}}},
		"PostgreSQL": {[]string{"--database-url=postgres://u:p@h/d", "--storage-url=file:/x"}, []place{{"STORAGE_URL", "file:/x", "/x", "/x"}}},
		"nowhere":    {[]string{"--database-url=mysql:x", "--storage-url=file://"}, nil},
	} {
		if got := parse(t, c.args...).places(); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// Who may not write is told who it is and what to do, whatever says so; any other
// error stays as it is.
func TestUnopened(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := place{"STORAGE_URL", "file:" + dir + "/files", dir + "/files", dir + "/files"}
	other := errors.New("some other error")
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"no error":  {nil, "<nil>"},
		"other":     {other, other.Error()},
		"refused":   {&fs.PathError{Op: "mkdir", Path: "x", Err: syscall.EACCES}, fmt.Sprintf("STORAGE_URL: user %[1]d may not write to %[3]s: give it that folder with chown -R %[1]d:%[2]d %[3]s, ", os.Getuid(), os.Getgid(), dir)},
		"read-only": {fmt.Errorf("open: %w", syscall.EROFS), "STORAGE_URL: " + dir + " is read-only: mount it so"},
	} {
		got := p.unopened(c.err)
		if !strings.HasPrefix(fmt.Sprint(got), c.want) || c.err != nil && !errors.Is(got, c.err) {
			t.Errorf("%s: %v, want %s", name, got, c.want)
		}
	}
	if got := (place{}).unopened(syscall.EACCES); got != error(syscall.EACCES) { // of no file: a PostgreSQL
		t.Error(got)
	}
}
