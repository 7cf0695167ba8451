//go:build !linux

package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/api-gpu/api-gpu/internal/selfdestroy"
)

var errNotHere = errors.New("CONTAINER_ID: a rented worker runs on Linux only")

func supervise(context.Context, time.Duration, *selfdestroy.Self, *slog.Logger) error {
	return errNotHere
}

func renewals(int) (func(time.Duration) error, error) { return nil, errNotHere }
