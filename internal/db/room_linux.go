package db

import "golang.org/x/sys/unix"

// blockSize is the unit of the counts in a Statfs_t. FUSE and NFS say a larger
// Bsize, which is only a preference.
func blockSize(s *unix.Statfs_t) int64 { return s.Frsize }
