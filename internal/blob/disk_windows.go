package blob

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/windows"
)

// renameNew renames a file and never overwrites: the error wraps fs.ErrExist
// when there is one at to. The rename is on the disk when it returns.
func renameNew(from, to string) error {
	err := moveFile(from, to)
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

func moveFile(from, to string) error {
	old, err := windows.UTF16PtrFromString(from)
	if err != nil {
		return err
	}
	name, err := windows.UTF16PtrFromString(to)
	if err != nil {
		return err
	}
	return windows.MoveFileEx(old, name, windows.MOVEFILE_WRITE_THROUGH)
}

// volume returns the bytes that this user may still fill of the volume that
// holds path, and its whole size.
func volume(path string) (free, total int64, err error) {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return 0, 0, err
	}
	var available, size uint64
	if err := windows.GetDiskFreeSpaceEx(name, &available, &size, nil); err != nil {
		return 0, 0, &os.PathError{Op: "GetDiskFreeSpaceEx", Path: path, Err: err}
	}
	return int64(min(available, math.MaxInt64)), int64(min(size, math.MaxInt64)), nil
}

// sameVolume goes by the letters of drives: a volume that is mounted in a folder
// is taken for that of the folder.
func sameVolume(a, b string) bool {
	one, err := filepath.Abs(a)
	if err != nil {
		return false
	}
	other, err := filepath.Abs(b)
	return err == nil && strings.EqualFold(filepath.VolumeName(one), filepath.VolumeName(other))
}

// syncDir does nothing: Windows cannot sync a folder, and renameNew waits for
// the disk by itself.
func syncDir(string) error { return nil }

// isFull tells whether an error means that there is no room, on the volume or
// in the quota.
func isFull(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL) ||
		errors.Is(err, windows.ERROR_DISK_QUOTA_EXCEEDED)
}
