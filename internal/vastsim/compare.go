package vastsim

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/api-gpu/api-gpu/internal/transcript"
)

// Comparison is how the market differs from what a transcript shows.
type Comparison struct {
	// Calls are those of the transcript, Skipped those of them whose answers say
	// nothing about shapes, by reason.
	Calls       int
	Skipped     map[string]int
	Differences []Difference
}

// Difference is a place at which the two answer in another shape.
type Difference struct {
	Call string // "GET /api/v1/instances/"
	// Path is where: "instances[running].ports"; in brackets the state of an
	// instance. "(status)" is that of HTTP.
	Path string
	// Real and Ours are what was seen there: kinds of JSON, or statuses.
	Real, Ours string
	// Relied: we read this, and the real one shows what the market never did.
	Relied bool
}

// Relied are the differences in what we rely on.
func (c Comparison) Relied() (some []Difference) {
	for _, d := range c.Differences {
		if d.Relied {
			some = append(some, d)
		}
	}
	return some
}

// relied is what our programs read of answers, by call. Source: internal/provider/vast
// and internal/selfdestroy.
var relied = map[string]string{
	"POST /api/v0/bundles/": `offers id ask_contract_id machine_id host_id gpu_name num_gpus gpu_ram compute_cap cpu_arch disk_space duration
		dph_total dph_base storage_cost inet_down inet_up inet_down_cost inet_up_cost internet_down_cost_per_tb internet_up_cost_per_tb reliability2 reliability
		verification vericode verified hosting_type geolocation country_code direct_port_count rentable rented external is_bid`,
	"PUT /api/v0/asks/{id}/": `success new_contract error msg`,
	"GET /api/v1/instances/": `success instances total_instances instances_found next_token id label actual_status intended_status cur_state next_state status_msg
		public_ipaddr ports {port} HostIp HostPort dph_total dph_base storage_cost disk_space gpu_name machine_id host_id geolocation country_code
		inet_down_cost inet_up_cost internet_down_cost_per_tb internet_up_cost_per_tb`,
	"DELETE /api/v0/instances/{id}/": `success error msg`,
	"GET /api/v0/users/current/":     `credit balance success`,
	"GET /api/v0/charges/":           `results count total next_token source amount end metadata label items type`,
}

// ReliesOn tells whether what we read of any answer is said to hold this field.
func ReliesOn(field string) bool {
	for _, fields := range relied {
		if slices.Contains(strings.Fields(fields), field) {
			return true
		}
	}
	return false
}

// reads tells whether we read what is at a path of an answer.
func reads(call, path string) bool {
	fields, known := relied[call]
	if !known {
		return false
	}
	last := path[strings.LastIndex(path, ".")+1:]
	name, _, _ := strings.Cut(last, "[")
	return path == "" || slices.Contains(strings.Fields(fields), name)
}

// answers is what the two answer to one kind of call, where both answer with the
// same status.
type answers struct{ real, ours *shape }

// Compare makes the calls of a transcript against a market of its own, whose
// machine lives as the one in the transcript did, and says where the answers
// differ in shape: statuses, members, kinds of values.
func Compare(calls []transcript.Exchange) (Comparison, error) {
	c := Comparison{Calls: len(calls), Skipped: map[string]int{}}
	r, err := newReplay(calls)
	if err != nil {
		return c, err
	}
	defer r.sim.Close()
	groups := map[string]*answers{}
	statuses := map[Difference]bool{}
	for n, e := range calls {
		if why := unfit(e); why != "" {
			c.Skipped[why]++
			continue
		}
		status, body, ok := r.call(n)
		if !ok {
			c.Skipped["it asks for a page that the market does not have"]++
			continue
		}
		call := e.Method + " " + e.Path
		if e.Status != status {
			statuses[Difference{Call: call, Path: "(status)", Real: word(e.Status), Ours: word(status), Relied: relied[call] != ""}] = true
			continue
		}
		key := fmt.Sprintf("%s %d", call, status)
		if groups[key] == nil {
			groups[key] = &answers{newShape(), newShape()}
		}
		groups[key].real.add(r.ownRows(e.Answer, r.isReal))
		groups[key].ours.add(r.ownRows(body, r.isOurs))
	}
	for d := range statuses {
		c.Differences = append(c.Differences, d)
	}
	for key, g := range groups {
		c.Differences = append(c.Differences, g.differences(key[:strings.LastIndex(key, " ")])...)
	}
	slices.SortFunc(c.Differences, func(a, b Difference) int {
		return strings.Compare(a.Call+" "+a.Path+" "+a.Real, b.Call+" "+b.Path+" "+b.Real)
	})
	return c, nil
}

func word(status int) string { return fmt.Sprintf("%d %s", status, http.StatusText(status)) }

// unfit says why an answer says nothing about shapes, or nothing.
func unfit(e transcript.Exchange) string {
	switch {
	case e.Status == 0:
		return "no answer came"
	case e.Status == http.StatusTooManyRequests:
		return "asked too often"
	case e.Status >= 500:
		return "the service failed"
	case e.Answer == nil && strings.HasPrefix(e.Text, "<"):
		return "somebody on the way answered"
	}
	return ""
}

// differences are those of one kind of call.
func (g *answers) differences(call string) (all []Difference) {
	for _, m := range g.real.against(g.ours) {
		d := Difference{Call: call, Path: m.path, Real: kindsOf(m.real), Ours: kindsOf(m.ours)}
		if d.Path == "" {
			d.Path = "(body)"
		}
		d.Relied = reads(call, m.path) && slices.ContainsFunc(m.real, func(kind string) bool { return !slices.Contains(m.ours, kind) })
		all = append(all, d)
	}
	for _, state := range g.real.unseen(g.ours, "instances") {
		all = append(all, Difference{
			Call: call, Path: "instances[].actual_status", Real: state, Ours: "never in that state here", Relied: !slices.Contains(knownStates, state),
		})
	}
	return all
}

func kindsOf(kinds []string) string {
	if len(kinds) == 0 {
		return "nothing"
	}
	return strings.Join(kinds, " or ")
}

// knownStates are the words of actual_status that a machine of the market can
// have; null is that of one that is being provisioned.
var knownStates = []string{"null", created, loading, running, stopped, frozen, exited, offline, unknown}
