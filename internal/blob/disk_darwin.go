package blob

import (
	"os"

	"golang.org/x/sys/unix"
)

// renameNew renames a file and never overwrites: the error wraps fs.ErrExist
// when there is one at to. It wraps errors.ErrUnsupported where the file
// system cannot promise that; renamex_np(2) says ENOTSUP then.
func renameNew(from, to string) error {
	if err := unix.RenamexNp(from, to, unix.RENAME_EXCL); err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

// blockSize is the unit of the counts in a Statfs_t.
func blockSize(s *unix.Statfs_t) int64 { return int64(s.Bsize) }
