package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/api-gpu/api-gpu/internal/fleet"
	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/program"
)

// costsCmd tells what jobs are expected to cost, by the functions that choose
// an offer. It asks nobody.
type costsCmd struct {
	Hourly []price         `sep:"," default:"0.05,0.2,0.4" help:"Prices of an hour of a machine, in dollars (default: ${default})."`
	Video  []time.Duration `sep:"," default:"1m,5m,10m,30m,2h" help:"Lengths of videos (default: ${default})."`
	Down   price           `default:"0.003" help:"Dollars for a GB into the machine (default: ${default})."`
	Up     price           `default:"0.004" help:"Dollars for a GB out of it (default: ${default})."`
	Server price           `default:"5" help:"Dollars a month for the server of the orchestrator (default: ${default})."`
	Daily  []int           `sep:"," default:"1,10,100,1000" help:"Videos a day, in the table by the month (default: ${default})."`
}

// monthDays is how many days a month has in the table.
const monthDays = 30

// Run prints the tables.
func (c *costsCmd) Run(_ context.Context, out program.Output) error {
	if slices.ContainsFunc(c.Video, func(d time.Duration) bool { return d <= 0 }) {
		return errors.New("--video must be above 0, such as 90s or 12m")
	}
	if slices.ContainsFunc(c.Daily, func(n int) bool { return n < 0 }) {
		return errors.New("--daily must not be negative")
	}
	_, err := io.WriteString(out.Stdout, c.jobs()+"\n"+c.months())
	return err
}

func (c *costsCmd) offer(hourly price) gpu.Offer {
	return gpu.Offer{HourlyUSD: gpu.USD(hourly), DownUSD: gpu.USD(c.Down), UpUSD: gpu.USD(c.Up)}
}

// jobs is what one job costs: alone, and among others.
func (c *costsCmd) jobs() string {
	var b strings.Builder
	head, rule := "| Video | Boot | Work |", "|---|---|---|"
	for _, h := range c.Hourly {
		head += fmt.Sprintf(" at $%s an hour: alone | among others |", dollars(gpu.USD(h)))
		rule += "---|---|"
	}
	fmt.Fprintf(&b, "%s\n%s\n", head, rule)
	for _, video := range c.Video {
		e := fleet.Expect(c.offer(0), video, paidIdle)
		fmt.Fprintf(&b, "| %s | %s | %s |", short(video), short(e.Boot), short(e.Work))
		for _, h := range c.Hourly {
			e := fleet.Expect(c.offer(h), video, paidIdle)
			fmt.Fprintf(&b, " %s | %s |", cents(e.Alone), cents(e.Among))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// months is what a month costs with so many videos a day, server included: the
// dearest way, each with a machine of its own.
func (c *costsCmd) months() string {
	var b strings.Builder
	head, rule := "| Videos a day, each alone |", "|---|"
	hourly := c.Hourly[len(c.Hourly)/2]
	for _, video := range c.Video {
		head += fmt.Sprintf(" %s |", short(video))
		rule += "---|"
	}
	fmt.Fprintf(&b, "%s\n%s\n", head, rule)
	for _, n := range c.Daily {
		fmt.Fprintf(&b, "| %d |", n)
		for _, video := range c.Video {
			each := fleet.Expect(c.offer(hourly), video, paidIdle).Alone
			month := float64(gpu.USD(c.Server))/float64(gpu.Dollar) + float64(n*monthDays)*float64(each)/float64(gpu.Dollar)
			fmt.Fprintf(&b, " $%.2f |", month)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// dollars prints a price without zeros at its end.
func dollars(u gpu.USD) string {
	return fmt.Sprintf("%.2f", float64(u)/float64(gpu.Dollar))
}

// cents prints an amount in cents, to a hundredth.
func cents(u gpu.USD) string {
	return fmt.Sprintf("%.2f ¢", 100*float64(u)/float64(gpu.Dollar))
}

// short prints a time without what is zero: 2m rather than 2m0s.
func short(d time.Duration) string {
	s := d.Round(time.Second).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
