package program

import (
	"fmt"
	"strconv"
	"strings"
)

// Bytes is a size as people write it: 512MiB, 2GiB, 1000000.
type Bytes int64

var byteUnits = []struct {
	suffix string
	factor int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"kB", 1e3}, {"B", 1}, {"", 1},
}

// UnmarshalText reads a size.
func (b *Bytes) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	for _, u := range byteUnits {
		number, ok := strings.CutSuffix(s, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || !(n >= 0 && n*float64(u.factor) <= 1<<60) { // NaN is no size either
			return fmt.Errorf("%q is not a size such as 512MiB or 2GiB", s)
		}
		*b = Bytes(n * float64(u.factor))
		return nil
	}
	return nil
}
