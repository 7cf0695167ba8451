package vastsim

import (
	"net/http"
	"slices"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

// Call is a call of the API, as the log keeps it.
type Call struct {
	At     time.Time `json:"at"`
	Name   string    `json:"name"`
	Method string    `json:"method"`
	Path   string    `json:"path"`
	// Label is that of the instance, or the one that is asked for.
	Label string `json:"label,omitempty"`
	// Own is whether the key was that of an instance, not the account's.
	Own bool `json:"own,omitempty"`
	// ID is that of the instance; of the offer for a create that made none.
	ID int64 `json:"id,omitempty"`
	// Status is 0 where a fault swallowed the answer.
	Status  int    `json:"status"`
	Outcome string `json:"outcome,omitempty"`
	Fault   string `json:"fault,omitempty"`
}

// Rules of the API that a client may break.
const (
	TooOften        = "too_often"         // below the least interval
	CreateRetried   = "create_retried"    // again with a label that took effect
	Unlabelled      = "unlabelled"        // a create that nobody could find again
	EnvIgnored      = "env_ignored"       // an environment in a form that is not applied
	ForeignTouched  = "foreign_touched"   // ended or changed what another owner runs
	DeprecatedList  = "deprecated_list"   // the list that new accounts lack
	NoTrailingSlash = "no_trailing_slash" // not how the API is called
	UnknownCall     = "unknown_call"      // not a call of the API
	WrongVersion    = "wrong_version"     // one that is there under the other version
	Malformed       = "malformed"         // what was asked for cannot be read, or be
	UnknownField    = "unknown_field"     // of a create, which takes no notice of it
	MayBeStopped    = "may_be_stopped"    // a create that does not say cancel_unavail
	KeyInInstance   = "key_in_instance"   // the account's key, where a stranger reads it
	KeyInQuery      = "key_in_query"      // a key where logs see it
)

// Breach is a rule of the API that the client broke.
type Breach struct {
	Rule   string    `json:"rule"`
	At     time.Time `json:"at"`
	Call   string    `json:"call"`
	Label  string    `json:"label,omitempty"`
	Detail string    `json:"detail"`
}

// Truth is what really is, listed or not.
type Truth struct {
	Now       time.Time `json:"now"`
	Credit    gpu.USD   `json:"credit_nanodollars"`
	Spent     gpu.USD   `json:"spent_nanodollars"`
	Instances []Known   `json:"instances"`
	// Broken are the rules that the client broke.
	Broken []Breach `json:"broken"`
}

// Known is the truth about one instance.
type Known struct {
	ID        int64  `json:"id"`
	Label     string `json:"label"`
	MachineID int64  `json:"machine_id"`
	// Alive is whether the contract exists and costs money.
	Alive bool `json:"alive"`
	// Running is whether a program of it lives, contract or not.
	Running   bool      `json:"running"`
	Foreign   bool      `json:"foreign"`
	State     string    `json:"state"`
	Created   time.Time `json:"created"`
	Destroyed time.Time `json:"destroyed,omitzero"`
	// GPUSeconds is the paid time of the GPU.
	GPUSeconds float64 `json:"gpu_seconds"`
	Cost       bill    `json:"cost_nanodollars"`
	Total      gpu.USD `json:"total_nanodollars"`
	// HostPorts is where the ports of the container are reached.
	HostPorts map[string]int `json:"host_ports,omitempty"`
	// Reached is when its program took the first connection from outside, by
	// the clock of the machine.
	Reached time.Time `json:"reached,omitzero"`
	// Env is the environment that was asked for, of which its owner reads all.
	Env map[string]string `json:"env,omitempty"`
}

// Truth tells what really is.
func (s *Sim) Truth() Truth {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.step()
	t := Truth{Now: s.now, Credit: s.credit(s.now), Spent: s.spent(s.now), Instances: []Known{}, Broken: append([]Breach{}, s.broken...)}
	for _, i := range s.instances {
		b := i.bill(s.now)
		t.Instances = append(t.Instances, Known{
			ID: i.id, Label: i.label, MachineID: i.offer.MachineID, Alive: i.destroyed.IsZero(), Running: i.machine != nil && !ended(i.machine),
			Foreign: i.foreign, State: i.status(), Created: i.created, Destroyed: i.destroyed,
			GPUSeconds: i.gpu.elapsed(s.now).Seconds(), Cost: b, Total: b.total(), HostPorts: i.hostPorts(),
			Reached: i.reached(), Env: i.asked(),
		})
	}
	return t
}

// reached is when the first of its programs was reached.
func (i *instance) reached() (at time.Time) {
	for _, m := range append(slices.Clone(i.past), i.machine) {
		if m != nil && at.IsZero() {
			at = m.Reached()
		}
	}
	return at
}

// asked is the environment of its create, options of Docker's included.
func (i *instance) asked() map[string]string {
	env := map[string]string{}
	for _, p := range i.order.env {
		env[p[0]] = p[1]
	}
	return env
}

// Alive are the ids of the contracts under a label, or of all without one.
func (t Truth) Alive(label string) (ids []int64) {
	for _, i := range t.Instances {
		if i.Alive && (label == "" || i.Label == label) {
			ids = append(ids, i.ID)
		}
	}
	return ids
}

// Calls returns the calls of some names, or all, in their order.
func (s *Sim) Calls(names ...string) []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	some := []Call{}
	for _, c := range s.calls {
		if len(names) == 0 || slices.Contains(names, c.Name) {
			some = append(some, c)
		}
	}
	return some
}

// keep is how many calls and breaches are remembered: the newest.
const keep = 10_000

func (s *Sim) note(name string, r *http.Request) *Call {
	key := bearer(r)
	own := slices.ContainsFunc(s.instances, func(i *instance) bool { return i.key == key })
	return &Call{At: s.now, Name: name, Method: r.Method, Path: r.URL.Path, Own: own}
}

func (s *Sim) record(c *Call) {
	s.calls = append(s.calls[max(0, len(s.calls)+1-keep):], *c)
	s.cfg.Log.Debug("call", "name", c.Name, "id", c.ID, "label", c.Label, "status", c.Status, "outcome", c.Outcome, "fault", c.Fault)
}

func (s *Sim) breach(rule string, c *Call, detail string) {
	s.broken = append(s.broken[max(0, len(s.broken)+1-keep):], Breach{Rule: rule, At: s.now, Call: c.Name, Label: c.Label, Detail: detail})
	s.cfg.Log.Warn("a rule of the API was broken", "rule", rule, "call", c.Name, "label", c.Label, "detail", detail)
}
