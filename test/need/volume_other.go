//go:build !linux

package need

import "testing"

// Full is a volume that can be filled. There is none on this system.
type Full struct{ Dir string }

// Volume skips the test.
func Volume(t testing.TB, _ int64, _ int) *Full {
	t.Helper()
	unmet(t, "full-volume", "Linux, whose volumes in memory can be filled")
	return nil
}

// Fill takes all room but for so many bytes.
func (v *Full) Fill(int64) {}

// FillFiles takes all files but for so many.
func (v *Full) FillFiles(int) {}

// Drain gives all of it back.
func (v *Full) Drain() {}
