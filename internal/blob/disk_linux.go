package blob

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// renameNew renames a file and never overwrites: the error wraps fs.ErrExist
// when there is one at to. It wraps errors.ErrUnsupported where the file
// system cannot promise that; renameat2(2) says EINVAL then.
func renameNew(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if err == nil {
		return nil
	}
	if errors.Is(err, unix.EINVAL) {
		err = errors.ErrUnsupported
	}
	return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
}

// blockSize is the unit of the counts in a Statfs_t. FUSE and NFS say a
// larger Bsize, which is only a preference.
func blockSize(s *unix.Statfs_t) int64 { return s.Frsize }
