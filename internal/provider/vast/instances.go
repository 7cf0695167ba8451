package vast

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

const (
	// pageSize is the API's default and most.
	pageSize = 25
	// maxPages bounds a listing whose tokens never end. With a second between
	// two pages nobody would wait for more.
	maxPages = 40
)

// Instances lists all pages of the account. The listing is complete when the
// last page was reached, no id came twice, over several pages ids rose from row
// to row (or fell: some answer in an order of their own), and as many came as
// the API says there are. One that does not say must say that the page is the
// last. Whatever is odd clears Complete, is logged, and keeps what was learned.
func (p *Provider) Instances(ctx context.Context) (gpu.Snapshot, error) {
	l := listing{began: time.Now()}
	token := ""
	for n := range maxPages {
		a, rows, err := p.page(ctx, token, pageSize)
		if _, limited := errors.AsType[gpu.RateLimited](err); limited && n > 0 {
			// Another program lists, too. The pages before are worth one more try,
			// which its lane sends late enough.
			a, rows, err = p.page(ctx, token, pageSize)
		}
		if err != nil && n == 0 {
			return gpu.Snapshot{}, err
		}
		if err != nil {
			l.odd("page %d: %v", n+1, err)
			break
		}
		if token = l.add(a.object, rows); token == "" {
			break
		}
	}
	return p.snapshot(ctx, &l), nil
}

// page asks for one page, the first without a token.
func (p *Provider) page(ctx context.Context, token string, limit int) (answer, []json.RawMessage, error) {
	query := url.Values{
		"limit":    {strconv.Itoa(limit)},
		"order_by": {`[{"col":"id","dir":"asc"}]`},
	}
	if token != "" {
		query.Set("after_token", token)
	}
	// v1: for accounts made after June 2026 the list of v0 answers 410.
	a, err := p.call(ctx, request{
		name: "list instances", lane: p.lanes.list, method: http.MethodGet, path: "/api/v1/instances/", query: query,
	})
	if err != nil {
		return a, nil, err
	}
	rows, err := instanceRows(a)
	return a, rows, err
}

// instanceRows are the rows of a page. Beside an array that is null where the
// count says zero (an empty list of some languages), the one instance itself,
// or an object of instances by their ids.
func instanceRows(a answer) ([]json.RawMessage, error) {
	raw, there := a.object["instances"]
	if a.status/100 != 2 || a.failure || !there {
		return a.list("instances")
	}
	total, counted := a.object.number("total_instances")
	one := parseObject(raw)
	switch {
	case one == nil && string(raw) != "null":
		return a.list("instances")
	case len(one) == 0 && counted && total == 0:
		return nil, nil
	case one.has("id"):
		return []json.RawMessage{raw}, nil
	}
	var rows []json.RawMessage
	for key, row := range one {
		if !validID(key) || parseObject(row).id("id") != key {
			return a.list("instances") // it is none
		}
		rows = append(rows, row)
	}
	if len(rows) == 0 {
		return a.list("instances")
	}
	slices.SortFunc(rows, func(x, y json.RawMessage) int { return cmp.Compare(rowID(x), rowID(y)) })
	return rows, nil
}

// rowID is the id of a row; 0 when it has none.
func rowID(raw json.RawMessage) int64 {
	id, _ := strconv.ParseInt(parseObject(raw).id("id"), 10, 64)
	return id
}

// listing is what the pages say so far.
type listing struct {
	began   time.Time
	rows    []object
	ids     map[int64]bool
	last    int64 // the id before
	risen   bool  // an id was higher than that before it
	fallen  bool  // or lower
	count   int   // rows, the unreadable too
	counted bool  // each page said how many there are
	total   float64
	pages   int
	ended   bool     // the last page was reached
	token   string   // that led to the next page
	notes   []string // what is odd
}

func (l *listing) odd(format string, args ...any) {
	l.notes = append(l.notes, fmt.Sprintf(format, args...))
}

// add takes a page and returns the token of the next, empty when there is none
// to ask for.
func (l *listing) add(page object, rows []json.RawMessage) (token string) {
	if found, ok := page.number("instances_found"); ok && found != float64(len(rows)) {
		l.odd("a page has %d rows and says %v", len(rows), found)
	}
	total, counted := page.number("total_instances")
	switch {
	case l.pages > 0 && l.counted != counted:
		l.odd("only some pages say how many instances there are")
	case l.pages > 0 && l.total != total:
		l.odd("there were %v instances and then %v", l.total, total)
	}
	l.total, l.counted = total, counted
	l.pages++
	for _, raw := range rows {
		l.addRow(raw)
	}
	token = page.text("next_token")
	switch {
	case token == "" && page.has("next_token") && string(page["next_token"]) != `""`:
		l.odd("the token of the next page is no text")
	case token == "":
		l.ended = true
		if _, says := page["next_token"]; !says && !counted {
			l.odd("a page says neither how many instances there are nor that it is the last")
		}
	case token == l.token:
		l.odd("a page leads back to itself")
		return ""
	}
	l.token = token
	return token
}

// addRow takes one row. One that cannot be used costs the listing its
// completeness, and nothing else.
func (l *listing) addRow(raw json.RawMessage) {
	l.count++
	id := rowID(raw)
	switch {
	case id == 0:
		l.odd("a row has no id")
		return
	case l.ids[id]:
		l.odd("row %d came twice", id)
		return
	case l.ids == nil:
		l.ids = map[int64]bool{}
	case id > l.last:
		l.risen = true
	default:
		l.fallen = true
	}
	l.ids[id], l.last = true, id
	l.rows = append(l.rows, parseObject(raw))
}

func (p *Provider) snapshot(ctx context.Context, l *listing) gpu.Snapshot {
	if !l.ended {
		l.odd("the last page was not reached")
	}
	if l.pages > 1 && l.risen && l.fallen {
		// What ends meanwhile may have moved a row to a page that was read before.
		l.odd("over several pages ids neither rise nor fall")
	}
	if l.ended && l.counted && l.total != float64(l.count) {
		l.odd("%d of %v instances came", l.count, l.total)
	}
	s := gpu.Snapshot{Complete: len(l.notes) == 0, Began: l.began}
	for _, row := range l.rows {
		s.Instances = append(s.Instances, p.instance(row))
	}
	if !s.Complete {
		p.cfg.Log.WarnContext(ctx, "the listing of instances is incomplete", "provider", "vast", "why", oneLine(strings.Join(l.notes, "; ")))
	}
	return s
}

// instance translates a row whose id is known to be good.
func (p *Provider) instance(row object) gpu.Instance {
	i := gpu.Instance{
		ID: row.id("id"), Label: row.exact("label"), Address: address(row), Running: running(row), Started: started(row),
		Status: row.text("actual_status"), Fault: faultOf(row), Message: oneLine(row.text("status_msg")),
		HourlyUSD: hourly(row), Slots: p.cfg.Slots, GPU: row.text("gpu_name"),
		HostID: row.id("host_id"), MachineID: row.id("machine_id"), Country: country(row),
	}
	i.DownUSD, _ = traffic(row, "inet_down_cost", "internet_down_cost_per_tb")
	i.UpUSD, _ = traffic(row, "inet_up_cost", "internet_up_cost_per_tb")
	if i.Status == "" {
		i.Status = "scheduling" // null: the host has not reported it yet
	}
	return i
}

// hourly is the price of an hour with its disk; zero when the row does not say.
func hourly(row object) gpu.USD {
	if total, ok := row.usd("dph_total"); ok {
		return total
	}
	base, ok := row.usd("dph_base")
	if !ok {
		return 0
	}
	gb, _ := row.number("disk_space")
	return base + disk(row, gb)
}

// address is the base URL of the worker, or empty while it has none. Ports are
// as Docker gives them; the public one is that of the machine's router.
func address(row object) string {
	ip, err := netip.ParseAddr(row.text("public_ipaddr"))
	if err != nil || ip.IsUnspecified() || ip.IsMulticast() || ip.Zone() != "" {
		return ""
	}
	bindings, _ := parseList(parseObject(row["ports"])[workerPort+"/tcp"])
	port := uint16(0)
	for _, raw := range bindings {
		binding := parseObject(raw)
		number, err := strconv.ParseUint(binding.text("HostPort"), 10, 16)
		if err != nil || number == 0 {
			continue
		}
		// Of two bindings that of the address's own family: ports may differ.
		host, err := netip.ParseAddr(binding.text("HostIp"))
		same := err == nil && host.Is4() == ip.Is4()
		if same || port == 0 {
			port = uint16(number)
		}
		if same {
			break
		}
	}
	if port == 0 {
		return ""
	}
	return "https://" + netip.AddrPortFrom(ip, port).String()
}
