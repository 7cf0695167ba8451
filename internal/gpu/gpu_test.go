package gpu

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"
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
		{ErrFunds, false},
		{fmt.Errorf("create: %w", ErrAuth), false},
		{fmt.Errorf("%w: %w", ErrNotSent, context.Canceled), false},
		{fmt.Errorf("create: %w", RateLimited{After: time.Second}), false},
		{fmt.Errorf("create: %w", ErrPartial), true},
		{errors.Join(ErrPartial, ErrFunds), true},
		{errors.Join(RateLimited{}, ErrPartial), true},
		{ErrGone, true}, // Create never says so: then nobody knows
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

func TestErrorsNest(t *testing.T) {
	t.Parallel()
	for _, err := range []error{ErrFunds, ErrAuth} {
		if !errors.Is(err, ErrRefused) {
			t.Errorf("%v is no ErrRefused", err)
		}
	}
	if errors.Is(ErrFunds, ErrAuth) || errors.Is(ErrAuth, ErrFunds) {
		t.Error("funds and key are one error")
	}
	if got := (RateLimited{After: 4550 * time.Millisecond}).Error(); got != "asked too often: again in 4.6s" {
		t.Errorf("a limit prints as %q", got)
	}
}

func TestCost(t *testing.T) {
	t.Parallel()
	offer := Offer{HourlyUSD: Dollar * 36 / 100, DownUSD: 2_600_000, UpUSD: 3_900_000}
	for name, c := range map[string]struct {
		offer Offer
		work  Work
		want  USD
	}{
		"nothing":        {offer, Work{}, 0},
		"a minute":       {offer, Work{Paid: time.Minute}, Dollar * 6 / 1000},
		"a nanosecond":   {offer, Work{Paid: 1}, 1}, // up
		"traffic":        {offer, Work{Down: 1e9, Up: 5e8}, 2_600_000 + 1_950_000},
		"all of it":      {offer, Work{Paid: time.Minute, Down: 1e9, Up: 5e8}, 6_000_000 + 4_550_000},
		"a byte":         {offer, Work{Down: 1}, 1},
		"a year":         {offer, Work{Paid: 8760 * time.Hour}, Dollar * 8760 * 36 / 100},
		"less than none": {offer, Work{Paid: -time.Hour, Down: -1, Up: -1}, 0},
		"a free offer":   {Offer{}, Work{Paid: time.Hour, Down: 1e12}, 0},
		"too much":       {Offer{HourlyUSD: math.MaxInt64}, Work{Paid: math.MaxInt64}, math.MaxInt64},
		"just too much":  {Offer{HourlyUSD: math.MaxInt64, UpUSD: 1}, Work{Paid: time.Hour, Up: 1}, math.MaxInt64},
		"the most":       {Offer{HourlyUSD: math.MaxInt64}, Work{Paid: time.Hour}, math.MaxInt64},
	} {
		if got := c.offer.Cost(c.work); got != c.want {
			t.Errorf("%s costs %d, want %d", name, got, c.want)
		}
	}
}
