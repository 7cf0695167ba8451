package main

import (
	"errors"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

// price is an amount of dollars in a setting.
type price gpu.USD

// UnmarshalText reads it.
func (p *price) UnmarshalText(text []byte) error {
	usd, err := gpu.ParseUSD(string(text))
	*p = price(usd)
	return err
}

// limit is the most that may be spent on something: an amount above 0, off, or
// auto where a default depends on other settings.
type limit struct {
	usd  gpu.USD // 0 is off
	auto bool
}

// UnmarshalText reads it. 0 is refused: it could mean either.
func (l *limit) UnmarshalText(text []byte) error {
	switch *l = (limit{}); string(text) {
	case "off":
		return nil
	case "auto":
		l.auto = true
		return nil
	}
	usd, err := gpu.ParseUSD(string(text))
	if err == nil && usd == 0 {
		err = errors.New(`0 is no limit: say off, or an amount of dollars`)
	}
	l.usd = usd
	return err
}

// or is the limit, where it says auto that one.
func (l limit) or(auto gpu.USD) gpu.USD {
	if l.auto {
		return auto
	}
	return l.usd
}
