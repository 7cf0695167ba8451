package vast

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

var _ gpu.Biller = (*Provider)(nil)

const (
	// chargesPage is the API's default; it allows 500.
	chargesPage = 100
	// maxChargesPages bounds a listing whose tokens never end.
	maxChargesPages = 200
	day             = 24 * time.Hour
	// maxEnd bounds a time that is believed, in seconds: the year 2286.
	maxEnd = 1e10
	// totalSlack is by how much a total in dollars may differ from the sum of
	// its rows: it may be rounded to cents.
	totalSlack = 0.01
)

// Ping asks whether the API answers and takes the key, with the one call that
// all depends on: it needs the scope instance_read.
func (p *Provider) Ping(ctx context.Context) error {
	_, _, err := p.page(ctx, "", 1)
	return err
}

// Credit implements gpu.Biller. It needs the scope user_read.
func (p *Provider) Credit(ctx context.Context) (gpu.USD, error) {
	a, err := p.call(ctx, request{
		name: "read account", lane: p.lanes.user, method: http.MethodGet, path: "/api/v0/users/current/",
	})
	if err != nil {
		return 0, err
	}
	// This answer has no "success": it is the user.
	if a.status/100 == 2 && !a.failure {
		for _, name := range []string{"credit", "balance"} {
			if n, ok := a.object.number(name); ok && n > -maxPrice && n < maxPrice {
				return dollars(n), nil
			}
		}
	}
	if err := a.outcome(); err != nil {
		return 0, err
	}
	return 0, a.err(errOdd)
}

// Charges implements gpu.Biller. It needs the scope billing_read.
func (p *Provider) Charges(ctx context.Context, from, to time.Time) ([]gpu.Charge, error) {
	first := from.UTC().Truncate(day).Unix()
	last := to.UTC().Add(day-1).Truncate(day).Unix() - 1
	if last < first {
		return nil, nil
	}
	sums := map[string]gpu.Charge{}
	seen, sum, token := 0, 0.0, ""
	for range maxChargesPages {
		a, err := p.chargesPage(ctx, first, last, token)
		if err != nil {
			return nil, err
		}
		rows, err := a.list("results")
		if err != nil {
			return nil, err
		}
		for _, raw := range rows {
			row := parseObject(raw)
			if err := addCharge(sums, row); err != nil {
				return nil, fmt.Errorf("vast: list charges: %w", err)
			}
			amount, _ := row.number("amount")
			sum += amount
		}
		seen += len(rows)
		next := a.object.text("next_token")
		if next == "" {
			if err := wholeBill(a.object, seen, sum); err != nil {
				return nil, fmt.Errorf("vast: list charges: %w", err)
			}
			return sorted(sums), nil
		}
		if next == token {
			break
		}
		token = next
	}
	return nil, errors.New("vast: list charges: the pages do not end")
}

// wholeBill holds what came against what the last page says. Nobody tells what
// "count" and "total" count: "count" is of this page or of all, and "total" is
// of rows or of dollars. A bill that fits neither way is not whole.
func wholeBill(page object, rows int, sum float64) error {
	if count, _ := page.number("count"); count > float64(rows) {
		return fmt.Errorf("%d of %v rows came", rows, count)
	}
	if total, ok := page.number("total"); ok && total != float64(rows) && math.Abs(total-sum) > totalSlack {
		return fmt.Errorf("%d rows of $%v came, and the total is %v", rows, sum, total)
	}
	return nil
}

func (p *Provider) chargesPage(ctx context.Context, first, last int64, token string) (answer, error) {
	query := url.Values{
		"select_filters": {fmt.Sprintf(`{"day":{"gte":%d,"lte":%d},"type":{"in":["instance"]}}`, first, last)},
		"limit":          {strconv.Itoa(chargesPage)},
		"format":         {"table"},
	}
	if token != "" {
		query.Set("after_token", token)
	}
	return p.call(ctx, request{
		name: "list charges", lane: p.lanes.charges, method: http.MethodGet, path: "/api/v0/charges/", query: query,
	})
}

// addCharge adds a row to the sum of its instance. Its parts sum to its amount:
// what no part explains is Other.
func addCharge(sums map[string]gpu.Charge, row object) error {
	source := row.text("source")
	id, ok := strings.CutPrefix(source, "instance-")
	if source != "" && !ok {
		return nil // a volume, or whatever else is not an instance
	}
	amount, known := row.number("amount")
	if !validID(id) || !known || amount < -maxPrice || amount > maxPrice {
		return errors.New("a row cannot be read")
	}
	c := sums[id]
	c.InstanceID = id
	if label := parseObject(row["metadata"]).text("label"); label != "" {
		c.Label = label
	}
	if end, ok := row.number("end"); ok && end > 0 && end < maxEnd {
		if until := time.UnixMilli(int64(end * 1000)).UTC(); until.After(c.Until) {
			c.Until = until
		}
	}
	rest := dollars(amount)
	items, _ := parseList(row["items"])
	for _, raw := range items {
		item := parseObject(raw)
		n, known := item.number("amount")
		if !known || n < -maxPrice || n > maxPrice {
			continue
		}
		part := map[string]*gpu.USD{"gpu": &c.GPU, "disk": &c.Disk, "bwd": &c.Down, "bwu": &c.Up}[item.text("type")]
		if part != nil {
			*part += dollars(n)
			rest -= dollars(n)
		}
	}
	c.Other += rest
	sums[id] = c
	return nil
}

// sorted returns the sums in the order of their ids, which are numbers.
func sorted(sums map[string]gpu.Charge) []gpu.Charge {
	var all []gpu.Charge
	for _, c := range sums {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b gpu.Charge) int {
		if n := len(a.InstanceID) - len(b.InstanceID); n != 0 {
			return n
		}
		return strings.Compare(a.InstanceID, b.InstanceID)
	})
	return all
}
