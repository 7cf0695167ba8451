package vastsim

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// maxPage is how many instances a page holds, at most and by default; a limit
// of 0 or less gives fewer.
const (
	maxPage  = 25
	zeroPage = 5
)

// stored are the columns of a contract that lists can be filtered by. What is
// computed, as dph_total, is not among them.
var stored = []string{
	"id", "label", "actual_status", "intended_status", "cur_state", "next_state", "gpu_name", "verification",
	"machine_id", "host_id", "image_uuid", "is_bid", "geolocation", "start_date",
}

// listing is what a v1 list was asked for.
type listing struct {
	filters []condition
	columns []string
	order   []column
	limit   int
	after   row // the values of the last row before; nil for the first page
}

// readListing reads the parameters of a list.
func readListing(q url.Values) (l listing, refusal *reply) {
	bad := func(msg string) (listing, *reply) {
		r := failure(http.StatusBadRequest, "invalid_request", msg)
		return l, &r
	}
	l.limit = maxPage
	if text := q.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			return bad("Error in query parameters: limit")
		}
		l.limit = min(n, maxPage)
		if n <= 0 {
			l.limit = zeroPage
		}
	}
	filters, err := readObject([]byte(q.Get("select_filters")))
	if err == nil {
		l.filters, err = conditions(filters, func(name string) bool { return slices.Contains(stored, name) })
	}
	if err == nil {
		l.columns, err = readColumns(q.Get("select_cols"))
	}
	if err != nil {
		return bad(err.Error())
	}
	var order []struct{ Col, Dir string }
	if text := q.Get("order_by"); text != "" {
		if err := json.Unmarshal([]byte(text), &order); err != nil {
			return bad("Error in query parameters: order_by")
		}
	}
	// Nobody says in which order rows come without order_by: newest first
	// finds out who took it for the other way round.
	desc := len(order) == 0
	for _, o := range order {
		if !slices.Contains(stored, o.Col) || o.Dir != "asc" && o.Dir != "desc" {
			return bad("Error in query parameters: " + o.Col + " is not a valid search key")
		}
		l.order = append(l.order, column{o.Col, o.Dir == "desc"})
	}
	l.order = append(l.order, column{"id", desc}) // the tie-breaker
	if token := q.Get("after_token"); token != "" {
		if l.after = readToken(token); l.after == nil {
			return l, &reply{status: http.StatusBadRequest, body: row{"error": "invalid_token"}}
		}
	}
	return l, nil
}

// readToken returns the row that a token points after, or nil.
func readToken(token string) row {
	var t struct{ Values row }
	text, err := base64.StdEncoding.DecodeString(token)
	if err != nil || json.Unmarshal(text, &t) != nil || t.Values["id"] == nil {
		return nil
	}
	return t.Values
}

func (l listing) token(last row) (string, error) {
	values := row{}
	for _, c := range l.order {
		values[c.name] = last[c.name]
	}
	text, err := json.Marshal(row{"values": values})
	return base64.StdEncoding.EncodeToString(text), err
}

// list answers GET /api/v1/instances/.
func (s *Sim) list(c *request) reply {
	l, refusal := readListing(c.http.URL.Query())
	if refusal != nil {
		return *refusal
	}
	rows := slices.DeleteFunc(s.listed(c), func(r row) bool {
		return slices.ContainsFunc(l.filters, func(f condition) bool { return !f.match(r[f.column]) })
	})
	sortRows(rows, l.order)
	total, labels := len(rows), map[string]int{}
	for _, r := range rows {
		label, _ := r["label"].(string)
		labels[label]++
	}
	if l.after != nil {
		rows = slices.DeleteFunc(rows, func(r row) bool { return compareRows(r, l.after, l.order) <= 0 })
	}
	var next any
	if len(rows) > l.limit {
		rows = rows[:l.limit]
		token, err := l.token(rows[l.limit-1])
		if err != nil {
			return failure(http.StatusInternalServerError, "server_error", err.Error())
		}
		next = token
	}
	rows, next = spoil(c, rows, next)
	for n, r := range rows {
		rows[n] = choose(r, l.columns)
	}
	answer := row{"success": true, "total_instances": total, "instances_found": len(rows), "label_counts": labels, "next_token": next, "instances": rows}
	if c.is(ListNoKey) {
		delete(answer, "instances")
	}
	return ok(answer)
}

// spoil does to a page what a fault says.
func spoil(c *request, rows []row, next any) ([]row, any) {
	switch {
	case c.is(ListMissing):
		n := 0
		rows = slices.DeleteFunc(rows, func(row) bool { n++; return n%2 == 0 || n == 1 })
	case c.is(ListDuplicate) && len(rows) > 0:
		rows = append(rows, rows[0])
	case c.is(ListCut):
		next = nil
	}
	return rows, next
}

// listed are the rows that a list knows of now: a new instance comes late,
// and a destroyed one stays for a moment.
func (s *Sim) listed(c *request) []row {
	rows := []row{}
	lag, stay := time.Duration(s.timing.ListLag), time.Duration(s.timing.DestroyLag)
	switch {
	case c.is(ListEmpty):
		return rows
	case c.is(ListLag):
		lag = time.Duration(c.fault.Delay)
	case c.is(ListStale):
		stay = time.Duration(c.fault.Delay)
	}
	for _, i := range s.instances {
		if s.now.Sub(i.created) < lag && !i.foreign || !i.destroyed.IsZero() && s.now.Sub(i.destroyed) >= stay {
			continue
		}
		rows = append(rows, s.row(i))
	}
	return rows
}

// listV0 answers the list that accounts made since June 2026 lack.
func (s *Sim) listV0(c *request) reply {
	s.breach(DeprecatedList, c.note, "use /api/v1/instances/")
	if !s.oldAccount {
		return failure(http.StatusGone, "deprecated_endpoint", "/api/v0/instances/ is deprecated. Use /api/v1/instances/ instead.")
	}
	rows := s.listed(c)
	slices.SortFunc(rows, func(a, b row) int { return cmp.Compare(a["id"].(int64), b["id"].(int64)) })
	return ok(row{"instances": rows})
}

// listLite is in the documentation, and disabled.
func (s *Sim) listLite(*request) reply {
	return failure(http.StatusNotFound, "not_found", "Not found.")
}

// show answers GET /api/v0/instances/{id}/: an object under the plural key,
// null where there is no such instance.
func (s *Sim) show(c *request) reply {
	i := s.find(c.id)
	if i == nil || c.is(ShowNull) {
		return ok(row{"instances": nil})
	}
	if c.is(ShowBare) {
		return ok(row{"instances": row{"id": i.id}})
	}
	return ok(row{"instances": s.row(i)})
}
