//go:build !crashpoints

package crash

// Point is a moment at which a test may kill this program.
func Point(string) {}

// Write is Point for a write of many callers: it is named after the function
// that asked for it, and a step of the write.
func Write(string) {}
