package vastsim

import (
	"encoding/json"
	"net/http"
	"slices"
)

// maxOffers is how many offers come back at most, whatever the limit.
const maxOffers = 64

// searchPost answers POST /bundles/, where the body is the query.
func (s *Sim) searchPost(c *request) reply { return s.search(c.body, nil) }

// searchGet answers GET /bundles/?q=.
func (s *Sim) searchGet(c *request) reply {
	columns, err := readColumns(c.http.URL.Query().Get("select_cols"))
	if err != nil {
		return invalidArgs(err.Error())
	}
	return s.search([]byte(c.http.URL.Query().Get("q")), columns)
}

// searchPut answers PUT /search/asks/, where the query is wrapped.
func (s *Sim) searchPut(c *request) reply {
	var body struct {
		Columns []string        `json:"select_cols"`
		Query   json.RawMessage `json:"q"`
	}
	if err := json.Unmarshal(c.body, &body); err != nil || len(body.Query) == 0 {
		return invalidArgs(invalidJSON)
	}
	return s.search(body.Query, body.Columns)
}

func readColumns(text string) (columns []string, err error) {
	if text == "" {
		return nil, nil
	}
	if err := json.Unmarshal([]byte(text), &columns); err != nil {
		return nil, refused("select_cols must be a list of names")
	}
	return columns, nil
}

// wish is a query without its filters.
type wish struct {
	bid       bool
	allocated float64 // GB
	limit     int
	order     []column
}

func (s *Sim) search(text []byte, columns []string) reply {
	query, err := readObject(text)
	if err != nil {
		return invalidArgs(err.Error())
	}
	w, err := readWish(query)
	if err != nil {
		return invalidArgs(err.Error())
	}
	known := typicalOffer()
	sample := known.row(s.now, w.allocated, w.bid)
	filters, err := conditions(query, func(name string) bool {
		_, isColumn := sample[name]
		return isColumn || name == "datacenter" || name == "reliability" || name == "cuda_vers"
	})
	if err != nil {
		return invalidArgs(err.Error())
	}
	offers := []row{}
	for _, o := range s.offers {
		r := o.row(s.now, w.allocated, w.bid)
		if o.DiskSpace >= w.allocated && s.meets(r, filters) {
			offers = append(offers, r)
		}
	}
	sortRows(offers, w.order)
	offers = offers[:min(len(offers), w.limit, maxOffers)]
	for n, r := range offers {
		offers[n] = choose(r, columns)
	}
	return ok(row{"offers": offers})
}

// readWish takes what is no filter out of the query.
func readWish(query row) (w wish, err error) {
	w = wish{allocated: 8, limit: maxOffers, order: []column{{name: "score", desc: true}}}
	for _, name := range []string{"order", "limit", "type", "allocated_storage", "target_reliability", "disable_bundling"} {
		value, given := query[name]
		delete(query, name)
		if !given || value == nil {
			continue
		}
		valid := true
		switch name {
		case "order":
			w.order, valid = readOrder(value)
		case "limit":
			var n float64
			n, valid = value.(float64)
			w.limit = max(0, int(n))
		case "allocated_storage":
			w.allocated, valid = value.(float64)
		case "type":
			valid = slices.Contains([]any{"on-demand", "ondemand", "bid", "reserved"}, value)
			w.bid = value == "bid"
		}
		if !valid {
			return w, refused("Invalid query: %s", name)
		}
	}
	return w, nil
}

// readOrder reads [["dph_total","asc"]].
func readOrder(value any) (order []column, ok bool) {
	list, ok := value.([]any)
	if !ok {
		return nil, false
	}
	for _, v := range list {
		pair, isPair := v.([]any)
		if !isPair || len(pair) != 2 {
			return nil, false
		}
		name, isName := pair[0].(string)
		if !isName || pair[1] != "asc" && pair[1] != "desc" {
			return nil, false
		}
		order = append(order, column{name, pair[1] == "desc"})
	}
	return order, true
}

// meets tells whether an offer meets all filters, with the columns that the
// server translates: what is shown and what is asked for differ.
func (s *Sim) meets(r row, filters []condition) bool {
	for _, f := range filters {
		have := r[f.column]
		switch f.column {
		case "id": // matches nothing; ask_contract_id does
			return false
		case "verified":
			have = r["verification"] == "verified"
		case "datacenter":
			have = r["hosting_type"] == 1
		case "reliability":
			have = r["reliability2"]
		case "cuda_vers":
			have = r["cuda_max_good"]
		case "geolocation":
			text, _ := have.(string)
			have = country(text)
		case "driver_version":
			have = r["driver_vers"]
			if text, isText := f.value.(string); isText {
				f.value = driverNumber(text)
			}
		}
		if !slices.Contains(s.unfaithful, f.column) && !f.match(have) {
			return false
		}
	}
	return true
}

// gpuNames answers GET /gpu_names/unique/.
func (s *Sim) gpuNames(*request) reply {
	names := []string{}
	for _, o := range s.offers {
		names = append(names, o.GPUName)
	}
	slices.Sort(names)
	return reply{status: http.StatusOK, body: row{"gpu_names": slices.Compact(names)}}
}
