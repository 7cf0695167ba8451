package gpu

import (
	"errors"
	"fmt"
	"time"
)

// The definite refusals of Create: nothing was created. RateLimited is one
// more. IsAmbiguous knows them all.
var (
	// ErrOfferGone: this offer cannot be had, as a rule because somebody else
	// took it. Another may do.
	ErrOfferGone = errors.New("the offer is gone")
	// ErrNoCapacity: there is nothing to rent now.
	ErrNoCapacity = errors.New("no capacity")
	// ErrRefused: the provider will not, for a reason that lies with us
	// (key, funds, a malformed request).
	ErrRefused = errors.New("refused")
	// ErrFunds is an ErrRefused: the account lacks credit, or may not spend
	// that much an hour. Renting is of no use until somebody pays.
	ErrFunds = fmt.Errorf("the account may not spend that: %w", ErrRefused)
	// ErrAuth is an ErrRefused: the key is wrong, expired, or may not do
	// this. Every method may return it.
	ErrAuth = fmt.Errorf("the key is not accepted: %w", ErrRefused)
	// ErrNoImage: the registry of the workers' image says that it is not there,
	// or that its login may not pull it. No machine will get it.
	ErrNoImage = fmt.Errorf("the image is not there, or its login may not pull it: %w", ErrRefused)
	// ErrPlatform is an ErrNoImage: the image is there, but for machines other
	// than those that are rented. None could run it.
	ErrPlatform error = platformError{}
	// ErrNotSent: no part of the request left this machine. Every method may
	// return it.
	ErrNotSent = errors.New("the request was not sent")
)

var (
	// ErrPartial: Create made an instance that does not run. It is returned
	// together with the id, and costs money until that is destroyed.
	ErrPartial = errors.New("created, but it does not run")
	// ErrGone: the provider does not know the instance. Destroy returns nil
	// instead; and no single answer proves an instance gone.
	ErrGone = errors.New("no such instance")
)

// RateLimited is a definite refusal: the provider looked at nothing but how
// often it was asked. Every method may return it.
type RateLimited struct {
	// After is how long not to ask again.
	After time.Duration
}

// Error implements error.
func (r RateLimited) Error() string {
	return fmt.Sprintf("asked too often: again in %s", r.After.Round(100*time.Millisecond))
}

// IsAmbiguous reports whether err, from Create, leaves open what exists. It
// is true of ErrPartial too: an instance exists then, and only listings tell
// what becomes of it.
func IsAmbiguous(err error) bool {
	if err == nil {
		return false
	}
	for _, refusal := range []error{ErrOfferGone, ErrNoCapacity, ErrRefused, ErrNotSent} {
		if errors.Is(err, refusal) {
			return errors.Is(err, ErrPartial)
		}
	}
	_, limited := errors.AsType[RateLimited](err)
	return !limited || errors.Is(err, ErrPartial)
}

// platformError does not repeat that the image is not there, for it is.
type platformError struct{}

func (platformError) Error() string {
	return "the image is there, but not for linux/amd64, which is what is rented"
}
func (platformError) Unwrap() error { return ErrNoImage }
