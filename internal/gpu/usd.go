package gpu

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// ParseUSD reads dollars as people write them, "0.05" or "12", exactly: a
// fraction has at most nine digits, which is a nanodollar.
func ParseUSD(text string) (USD, error) {
	whole, fraction, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(text), "$"), ".")
	bad := fmt.Errorf("%q is not an amount of dollars such as 0.50", text)
	if whole+fraction == "" || len(fraction) > 9 {
		return 0, bad
	}
	// One number of nanodollars; digits only, so no sign and no exponent.
	n, err := strconv.ParseUint(whole+fraction+strings.Repeat("0", 9-len(fraction)), 10, 63)
	if err != nil || n > math.MaxInt64 {
		return 0, bad
	}
	return USD(n), nil
}
