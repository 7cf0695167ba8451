package vastsim

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

// user answers GET /users/current/. Credit has two decimals.
func (s *Sim) user(*request) reply {
	credit := math.Floor(dollars(s.credit(s.now))*100) / 100
	return ok(row{
		"id": 1234, "key_id": 9, "email": "me@example.com", "email_verified": true, "balance": min(0, credit), "credit": credit,
		"can_pay": true, "has_billing": true, "balance_threshold": 0, "balance_threshold_enabled": false, "ssh_key": "", "sid": "sim",
	})
}

// rates are what everything costs an hour now: GPUs, and disks.
func (s *Sim) rates() (gpus, disks gpu.USD) {
	for _, i := range s.instances {
		if i.gpu.on() {
			gpus += i.gpu.hourly
		}
		if i.disk.on() {
			disks += i.disk.hourly
		}
	}
	return gpus, disks
}

// spendRate answers GET /users/spend-rate/.
func (s *Sim) spendRate(*request) reply {
	gpus, disks := s.rates()
	return ok(row{
		"success": true, "gpu_cost_per_hour": dollars(gpus), "container_storage_cost_per_hour": dollars(disks),
		"volume_storage_cost_per_hour": 0, "has_active_resources": gpus+disks > 0,
	})
}

// Pages of charges.
const (
	chargesPage    = 100
	maxChargesPage = 500
)

// chargesQuery is what charges were asked for.
type chargesQuery struct {
	from, to     time.Time
	limit, after int
	latestFirst  bool
	others       bool // rows of another type than instances
}

func readCharges(c *request) (q chargesQuery, msg string) {
	values := c.http.URL.Query()
	var filters struct {
		Day struct {
			GTE, LTE *float64
		}
		Type struct {
			EQ string
			In []string
		}
	}
	if err := json.Unmarshal([]byte(values.Get("select_filters")), &filters); err != nil {
		return q, invalidJSON
	}
	if filters.Day.GTE == nil || filters.Day.LTE == nil {
		return q, "day filter with gte and lte is required"
	}
	q.from, q.to = time.Unix(int64(*filters.Day.GTE), 0), time.Unix(int64(*filters.Day.LTE), 0)
	q.others = filters.Type.EQ != "" && filters.Type.EQ != "instance" || len(filters.Type.In) > 0 && !slices.Contains(filters.Type.In, "instance")
	q.limit = chargesPage
	if text := values.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return q, "limit must be above 0"
		}
		q.limit = min(n, maxChargesPage)
	}
	q.latestFirst = values.Get("latest_first") == "true" || values.Get("latest_first") == "1"
	if token := values.Get("after_token"); token != "" {
		text, err := base64.StdEncoding.DecodeString(token)
		if err == nil {
			q.after, err = strconv.Atoi(string(text))
		}
		if err != nil || q.after < 0 {
			return q, "invalid_token"
		}
	}
	return q, ""
}

// charges answers GET /charges/: a row for each instance and UTC day. Rows
// appear late and grow until their day is over or the instance is gone.
func (s *Sim) charges(c *request) reply {
	q, msg := readCharges(c)
	if msg == "invalid_token" {
		return reply{status: http.StatusBadRequest, body: row{"error": msg}}
	}
	if msg != "" {
		return invalidArgs(msg)
	}
	rows, total := []row{}, gpu.USD(0)
	known := s.now.Add(-time.Duration(s.timing.ChargeLag))
	for _, i := range s.instances {
		if q.others {
			break
		}
		for _, r := range i.charges(known) {
			if !r.day.Before(dayOf(q.from)) && !r.day.After(q.to) {
				rows = append(rows, r.row)
				total += r.amount
			}
		}
	}
	sortRows(rows, []column{{"start", q.latestFirst}, {"source", false}})
	count := len(rows)
	rows = rows[min(q.after, count):]
	var next any
	if len(rows) > q.limit {
		rows = rows[:q.limit]
		next = base64.StdEncoding.EncodeToString([]byte(strconv.Itoa(q.after + q.limit)))
	}
	return ok(row{"success": true, "count": count, "total": dollars(total), "results": rows, "next_token": next})
}

// invoices answers GET /v1/invoices/: payments, of which there was none.
func (s *Sim) invoices(c *request) reply {
	filters, err := readObject([]byte(c.http.URL.Query().Get("select_filters")))
	if err != nil {
		return invalidArgs(err.Error())
	}
	if when, isObject := filters["when"].(row); len(filters) > 0 && (!isObject || when["gte"] == nil || when["lte"] == nil) {
		return invalidArgs("when filter with gte and lte is required")
	}
	return ok(row{"success": true, "count": 0, "total": 0, "results": []row{}, "next_token": nil})
}

// charge is a row of charges.
type charge struct {
	day    time.Time
	amount gpu.USD
	row    row
}

func dayOf(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }

// charges are the rows of an instance, as far as known until a time.
func (i *instance) charges(known time.Time) (all []charge) {
	end := known
	if !i.destroyed.IsZero() && i.destroyed.Before(end) {
		// Traffic that was reported in the last moment belongs to the end.
		end = i.destroyed
	}
	for day := dayOf(i.created); !day.After(end); day = day.AddDate(0, 0, 1) {
		from, to := later(day, i.created), day.AddDate(0, 0, 1)
		if to.After(end) {
			to = end
		}
		before := bill{}
		if from.After(i.created) {
			before = i.bill(day)
		}
		b := i.bill(to).minus(before)
		if !to.After(from) || b.total() == 0 {
			continue
		}
		items := []row{}
		for _, item := range []struct {
			kind   string
			amount gpu.USD
		}{{"gpu", b.GPU}, {"disk", b.Disk}, {"bwd", b.Down}, {"bwu", b.Up}} {
			if item.amount > 0 {
				items = append(items, row{"type": item.kind, "amount": dollars(item.amount), "description": item.kind})
			}
		}
		all = append(all, charge{day, b.total(), row{
			"start": epoch(from), "end": epoch(to), "type": "instance", "source": fmt.Sprintf("instance-%d", i.id),
			"description": fmt.Sprintf("Instance %d", i.id), "amount": dollars(b.total()),
			"metadata": row{"label": i.label, "gpu_name": i.offer.GPUName}, "items": items,
		}})
	}
	return all
}
