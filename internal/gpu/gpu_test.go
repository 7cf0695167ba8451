package gpu

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

func TestIsAmbiguous(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{ErrOfferGone, false},
		{fmt.Errorf("create: %w", ErrNoCapacity), false},
		{errors.Join(errors.New("402"), ErrRefused), false},
		{context.DeadlineExceeded, true},
		{errors.New("connection reset"), true},
	} {
		if got := IsAmbiguous(c.err); got != c.want {
			t.Errorf("IsAmbiguous(%v) = %v, want %v", c.err, got, c.want)
		}
	}
}

func TestUSD(t *testing.T) {
	t.Parallel()
	for amount, want := range map[USD]string{0: "$0.000000", Dollar / 250: "$0.004000", 3*Dollar + 5*Dollar/10: "$3.500000"} {
		if got := amount.String(); got != want {
			t.Errorf("%d nanodollars print as %s, want %s", int64(amount), got, want)
		}
	}
}
