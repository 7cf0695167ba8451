package vast

import (
	"context"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

const (
	// searchSize is the most that one search returns, whatever is asked for.
	searchSize = 64
	// maxSearches bounds the searches that one call makes, and enoughOffers
	// is when it makes no more: each takes its turn of two seconds.
	maxSearches  = 4
	enoughOffers = 32
	// lasting is the least time that an offer must still have.
	lasting = 24 * time.Hour
	// gigabyte is the least that counts as a GB of GPU memory, in MB. Cards
	// report less than their name says: an A10 of 24 GB 23028 MB.
	gigabyte = 930
	// hoursPerMonth turns a monthly price into an hourly one; the API's own
	// client counts 30 days.
	hoursPerMonth = 720
)

// condition is one demand on an offer. It is sent with the search and checked
// again on what comes back: the API does not apply all filters faithfully. A
// member that is null does not meet a demand on what it costs or how good it
// is; for what the search already excludes, it does.
type condition struct {
	column, op string
	value      any
	holds      func(row object) bool
}

func atLeast(column string, least float64) condition {
	return condition{column, "gte", least, func(row object) bool {
		n, ok := row.number(column)
		return ok && n >= least
	}}
}

// flag demands a boolean, or nothing where the row does not say.
func flag(column string, want bool) condition {
	return condition{column, "eq", want, func(row object) bool {
		said, known := row.yes(column)
		return !known || said == want
	}}
}

// conditions are the demands of the configuration.
func (c Config) conditions() []condition {
	all := []condition{
		flag("external", false), flag("rentable", true), flag("rented", false),
		{"num_gpus", "eq", 1, func(row object) bool { n, ok := row.number("num_gpus"); return ok && n == 1 }},
		{"cpu_arch", "eq", "amd64", func(row object) bool { arch := row.text("cpu_arch"); return arch == "" || arch == "amd64" }},
		// Without a free port the worker could not be reached.
		atLeast("direct_port_count", 1),
		atLeast("gpu_ram", float64(c.MinVRAM*gigabyte)),
		atLeast("disk_space", float64(c.DiskGB)),
		atLeast("duration", lasting.Seconds()),
		{"dph_total", "lte", dollarsOf(c.MaxPrice), func(row object) bool { return cheapEnough(row, c) }},
		{"reliability2", "gte", c.MinReliability, func(row object) bool { return reliability(row) >= c.MinReliability }},
		c.models(),
	}
	if c.Verified {
		all = append(all, condition{"verified", "eq", true, verified})
	}
	if c.Datacenter {
		all = append(all, condition{"datacenter", "eq", true, func(row object) bool {
			kind, ok := row.number("hosting_type")
			return ok && kind == 1
		}})
	}
	if len(c.Countries) > 0 {
		all = append(all, condition{"geolocation", "in", c.Countries, func(row object) bool {
			return slices.Contains(c.Countries, country(row))
		}})
	}
	return all
}

// models demands a card with NVENC: one that the operator named, or any. One
// that is known to have no encoder is never taken, and one of which nothing is
// known only by name.
func (c Config) models() condition {
	if len(c.Models) == 0 {
		without := strings.Split(models[0], ", ")
		return condition{"gpu_name", "notin", without, func(row object) bool { return generation(row) > 0 }}
	}
	var names []string
	wanted := map[string]bool{}
	for _, name := range c.Models {
		names = append(names, canonical(name))
		wanted[fold(name)] = true
	}
	return condition{"gpu_name", "in", names, func(row object) bool {
		return wanted[fold(row.text("gpu_name"))] && generation(row) != 0
	}}
}

func generation(row object) int {
	capability, _ := row.number("compute_cap")
	return nvenc(row.text("gpu_name"), capability)
}

// verified: the row's own member of that name is null as a rule. It counts only
// where it is all that there is.
func verified(row object) bool {
	code, numbered := row.number("vericode")
	switch word := row.text("verification"); {
	case word != "":
		return word == "verified"
	case numbered:
		return code == 1
	}
	said, _ := row.yes("verified")
	return said
}

func reliability(row object) float64 {
	for _, name := range []string{"reliability2", "reliability"} {
		if n, ok := row.number(name); ok && n >= 0 && n <= 1 {
			return n
		}
	}
	return 0
}

func cheapEnough(row object, c Config) bool {
	total, ok := price(row, float64(c.DiskGB))
	return ok && total <= c.MaxPrice
}

// price is that of an hour with this disk. A price of nothing is a mistake.
func price(row object, gb float64) (total gpu.USD, ok bool) {
	total, known := row.usd("dph_total")
	base, split := row.usd("dph_base")
	if split {
		// dph_total is rounded, and may be about another disk than ours.
		total = max(total, base+disk(row, gb))
	}
	return total, (known || split) && total > 0
}

// disk is the price of an hour of so many GB; zero when the row does not say.
func disk(row object, gb float64) gpu.USD {
	monthly, ok := row.number("storage_cost")
	if !ok || monthly < 0 || gb < 0 || monthly*gb > maxPrice {
		return 0
	}
	return dollars(monthly * gb / hoursPerMonth)
}

// traffic is the price of a GB, given for a GB or for a TB.
func traffic(row object, perGB, perTB string) (gpu.USD, bool) {
	if cost, ok := row.usd(perGB); ok {
		return cost, true
	}
	cost, ok := row.usd(perTB)
	return (cost + 999) / 1000, ok
}

var countryCode = regexp.MustCompile(`(?:^|,)\s*([A-Z]{2})$`)

// country is the two letters at the end of "Sofia, BG".
func country(row object) string {
	for _, name := range []string{"geolocation", "country_code"} {
		if m := countryCode.FindStringSubmatch(strings.ToUpper(row.text(name))); m != nil {
			return m[1]
		}
	}
	return ""
}

// Offers searches the cheapest offers that meet the configuration.
func (p *Provider) Offers(ctx context.Context) ([]gpu.Offer, error) {
	var offers []gpu.Offer
	seen := map[string]bool{}
	from := math.NaN()
	for range maxSearches {
		rows, err := p.search(ctx, from)
		if err != nil && len(offers) > 0 {
			return offers, nil // the cheapest are there
		}
		if err != nil {
			return nil, err
		}
		fresh := false
		for _, row := range rows {
			offer, ok := p.offer(row)
			fresh = fresh || !seen[row.id("id")]
			if ok && !seen[offer.ID] {
				offers = append(offers, offer)
			}
			seen[row.id("id")] = true
		}
		if len(rows) < searchSize || len(offers) >= enoughOffers || !fresh {
			break
		}
		// No paging: the next are those that cost as much as the last, or more.
		last, ok := rows[len(rows)-1].number("dph_total")
		if !ok {
			break
		}
		from = last
	}
	return offers, nil
}

// search makes one search, by price, from a price on unless that is NaN.
func (p *Provider) search(ctx context.Context, from float64) ([]object, error) {
	query := map[string]any{
		"type": "on-demand", "allocated_storage": p.cfg.DiskGB, "limit": searchSize,
		"order": [][]string{{"dph_total", "asc"}},
	}
	add := func(column, op string, value any) {
		ops, _ := query[column].(map[string]any)
		if ops == nil {
			ops = map[string]any{}
		}
		ops[op] = value
		query[column] = ops
	}
	for _, c := range p.conditions {
		add(c.column, c.op, c.value)
	}
	if !math.IsNaN(from) {
		add("dph_total", "gte", from)
	}
	a, err := p.call(ctx, request{
		name: "search offers", lane: p.lanes.search, method: http.MethodPost, path: "/api/v0/bundles/", body: query,
	})
	if err != nil {
		return nil, err
	}
	if a.status/100 == 2 && !a.failure && parseObject(a.object["offers"]) != nil {
		a.object["offers"] = slices.Concat([]byte("["), a.object["offers"], []byte("]")) // one offer, as in the API's own example
	}
	list, err := a.list("offers")
	if err != nil {
		return nil, err
	}
	var rows []object
	for _, raw := range list {
		if row := parseObject(raw); row != nil {
			rows = append(rows, row)
		}
	}
	return rows, nil
}

// offer translates a row that meets all conditions.
func (p *Provider) offer(row object) (offer gpu.Offer, ok bool) {
	for _, c := range p.conditions {
		if !c.holds(row) {
			return gpu.Offer{}, false
		}
	}
	if bid, _ := row.yes("is_bid"); bid {
		// Not what was searched for: it shows the least bid, and without one we
		// would pay what it does not show.
		return gpu.Offer{}, false
	}
	id := row.id("id")
	if id == "" {
		id = row.id("ask_contract_id")
	}
	total, _ := price(row, float64(p.cfg.DiskGB))
	down, downOK := traffic(row, "inet_down_cost", "internet_down_cost_per_tb")
	up, upOK := traffic(row, "inet_up_cost", "internet_up_cost_per_tb")
	if id == "" || !downOK || !upOK {
		return gpu.Offer{}, false
	}
	base, split := row.usd("dph_base")
	if !split || base > total {
		base = total - min(total, disk(row, float64(p.cfg.DiskGB)))
	}
	vram, _ := row.number("gpu_ram")
	seconds, _ := row.number("duration")
	return gpu.Offer{
		ID: id, HourlyUSD: total, GPUHourlyUSD: base, DiskHourlyUSD: total - base, DownUSD: down, UpUSD: up,
		DownMbps: speed(row, "inet_down"), UpMbps: speed(row, "inet_up"), GPU: row.text("gpu_name"),
		NVENC: max(generation(row), 0), VRAM: int(min(vram, 1e9)), Slots: p.cfg.Slots,
		HostID: row.id("host_id"), MachineID: row.id("machine_id"), Country: country(row),
		Reliability: reliability(row), Lasts: time.Duration(min(seconds, 1e9)) * time.Second,
	}, true
}

// speed is in Mbit/s: the client and the guides say so, the API's description
// speaks of MB/s.
func speed(row object, name string) float64 {
	n, _ := row.number(name)
	return max(n, 0)
}

func dollarsOf(u gpu.USD) float64 { return float64(u) / float64(gpu.Dollar) }
