// Package container tells what the container that a program runs in keeps: what
// is on a volume that was mounted into it outlives it, all else is forgotten with
// it.
package container

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Forgets reports whether what is at a path, or will be, is forgotten with the
// container that this program runs in. Where there is none, or that cannot be
// told, it is not.
func Forgets(path string) bool {
	if !Inside() {
		return false
	}
	file, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return false
	}
	defer file.Close()
	mounts, err := readMounts(file)
	return err == nil && !kept(mounts, path)
}

// Inside reports whether this program runs in a container: it knows those of
// Docker, Podman and Kubernetes.
func Inside() bool {
	for _, file := range []string{"/.dockerenv", "/run/.containerenv"} {
		if _, err := os.Stat(file); err == nil {
			return true
		}
	}
	return os.Getenv("KUBERNETES_SERVICE_HOST") != "" || os.Getenv("container") != ""
}

// mount is a file system in the tree of files.
type mount struct{ point, kind string }

// readMounts reads /proc/self/mountinfo, as proc(5) has it.
func readMounts(r io.Reader) (mounts []mount, err error) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		dash := slices.Index(fields, "-")
		if dash < 6 || dash+1 >= len(fields) {
			return nil, fmt.Errorf("unknown form of mountinfo: %d fields", len(fields))
		}
		mounts = append(mounts, mount{unescape(fields[4]), fields[dash+1]})
	}
	return mounts, lines.Err()
}

// unescape reads a path with \040 for a space.
func unescape(path string) string {
	var b strings.Builder
	for n := 0; n < len(path); n++ {
		if path[n] == '\\' && n+3 < len(path) {
			if c, err := strconv.ParseUint(path[n+1:n+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				n += 3
				continue
			}
		}
		b.WriteByte(path[n])
	}
	return b.String()
}

// kept tells whether what is at path outlives the container: whether it is on
// a file system that was mounted there, and not one in memory.
func kept(mounts []mount, path string) bool {
	path = real(path)
	best := mount{}
	for _, m := range mounts { // of two at one point the later covers the earlier
		inside := m.point == "/" || path == m.point || strings.HasPrefix(path, m.point+"/")
		if inside && len(m.point) >= len(best.point) {
			best = m
		}
	}
	return best.point != "/" && best.point != "" && best.kind != "tmpfs" && best.kind != "ramfs"
}

// real is the absolute path without symbolic links, as far as it exists.
func real(path string) string {
	path, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	rest := ""
	for dir := path; ; dir = filepath.Dir(dir) {
		found, err := filepath.EvalSymlinks(dir)
		if err == nil {
			return filepath.Join(found, rest)
		}
		if !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir) {
			return path
		}
		rest = filepath.Join(filepath.Base(dir), rest)
	}
}
