package db

import "golang.org/x/sys/unix"

// blockSize is the unit of the counts in a Statfs_t.
func blockSize(s *unix.Statfs_t) int64 { return int64(s.Bsize) }
