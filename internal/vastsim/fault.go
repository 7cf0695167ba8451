package vastsim

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Duration is a time.Duration that JSON writes as "1m30s".
type Duration time.Duration

// MarshalText writes it.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads it.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = Duration(v)
	return err
}

// Kinds of Fault. The first five lose the answer, and where After is false
// they lose the call too. The others happen within a call of the named kind.
const (
	// Status answers with Status and Body, or with a page where HTML is set.
	Status = "status"
	// Limited answers 429.
	Limited = "limited"
	// Hang answers nothing until Delay has passed, or the client leaves.
	Hang = "hang"
	// Reset cuts the connection.
	Reset = "reset"
	// Slow acts at once and answers after Delay.
	Slow = "slow"

	// CreateTwice makes two instances and tells of the second.
	CreateTwice = "create_twice"
	// CreateLate answers 500; the instance comes to exist after Delay.
	CreateLate = "create_late"
	// CreateErrorWithID answers 500 and names the instance that it made.
	CreateErrorWithID = "create_error_with_id"
	// CreateStopped makes an instance that does not run: success is false.
	CreateStopped = "create_stopped"
	// CreateVanished answers that the offer is gone.
	CreateVanished = "create_vanished"

	// ListLag leaves out instances younger than Delay.
	ListLag = "list_lag"
	// ListMissing leaves out the first row and every second, with the total as
	// if they were there.
	ListMissing = "list_missing"
	// ListDuplicate repeats the first row of a page at its end.
	ListDuplicate = "list_duplicate"
	// ListStale shows instances that were destroyed within Delay.
	ListStale = "list_stale"
	// ListEmpty is a proper answer without any instance.
	ListEmpty = "list_empty"
	// ListNoKey is an answer of status 200 that lacks the list.
	ListNoKey = "list_no_key"
	// ListCut forgets that there are further pages.
	ListCut = "list_cut"

	// ShowNull shows null for an instance that lives.
	ShowNull = "show_null"
	// ShowBare shows nothing but the id, as just after a create.
	ShowBare = "show_bare"

	// DestroyIgnored answers success and does nothing.
	DestroyIgnored = "destroy_ignored"
	// DestroyRefused answers 200 with success false, and does nothing.
	DestroyRefused = "destroy_refused"
	// DestroyUnknown answers 404 no_such_instance, and does nothing.
	DestroyUnknown = "destroy_unknown"

	// StartUnavailable answers resources_unavailable and queues the start.
	StartUnavailable = "start_unavailable"
)

var (
	losing = []string{Status, Limited, Hang, Reset, Slow}
	within = []string{
		CreateTwice, CreateLate, CreateErrorWithID, CreateStopped, CreateVanished,
		ListLag, ListMissing, ListDuplicate, ListStale, ListEmpty, ListNoKey, ListCut,
		ShowNull, ShowBare, DestroyIgnored, DestroyRefused, DestroyUnknown, StartUnavailable,
	}
)

// Kinds are all kinds of Fault.
func Kinds() []string { return slices.Concat(losing, within) }

// Fault is something that goes wrong with calls to come.
type Fault struct {
	Kind string `json:"kind"`
	// Call is the name of a call as in the log; "*", or nothing, is any. The
	// kinds that belong to one call need none.
	Call string `json:"call"`
	// Label restricts it to calls about this label.
	Label string `json:"label"`
	// Skip lets so many calls through first.
	Skip int `json:"skip"`
	// Times is how many calls it befalls; 0 is one, negative is all.
	Times int `json:"times"`
	// For makes it befall all calls of this time from now, instead of Times.
	For Duration `json:"for"`
	// After lets the call take effect before its answer is lost.
	After bool `json:"after"`
	// Delay is for the kinds that speak of it.
	Delay  Duration        `json:"delay"`
	Status int             `json:"status"` // default 503
	Body   json.RawMessage `json:"body"`   // JSON, or a string that is sent as text
	HTML   bool            `json:"html"`

	until time.Time
}

func (f *Fault) check() error {
	switch {
	case slices.Contains(losing, f.Kind):
	case !slices.Contains(within, f.Kind):
		return fmt.Errorf("fault %q is not known", f.Kind)
	case f.Call == "":
		verb, _, _ := strings.Cut(f.Kind, "_")
		f.Call = map[string]string{"start": "change"}[verb]
		if f.Call == "" {
			f.Call = verb
		}
	}
	f.After = f.After || f.Kind == Slow
	if f.Status == 0 {
		f.Status = http.StatusServiceUnavailable
	}
	if f.Status < 200 || f.Status > 599 || f.Delay < 0 || f.For < 0 || f.Skip < 0 {
		return fmt.Errorf("fault %q: a status or a time out of range", f.Kind)
	}
	return nil
}

func (f *Fault) losesAnswer() bool { return slices.Contains(losing, f.Kind) }

// seen is the status that the client sees of an answer; 0 for none.
func (f *Fault) seen(status int) int {
	switch f.Kind {
	case Status:
		return f.Status
	case Limited:
		return http.StatusTooManyRequests
	case Slow:
		return status
	case Hang:
		if f.Delay > 0 {
			return http.StatusGatewayTimeout
		}
	}
	return 0
}

// fault returns what befalls this call, if anything, and uses it up.
func (s *Sim) fault(c *Call) *Fault {
	s.faults = slices.DeleteFunc(s.faults, func(f *Fault) bool { return !f.until.IsZero() && !s.now.Before(f.until) })
	for n, f := range s.faults {
		if f.Call != "" && f.Call != "*" && f.Call != c.Name || f.Label != "" && f.Label != c.Label {
			continue
		}
		if f.Skip > 0 {
			f.Skip--
			continue
		}
		if f.until.IsZero() && f.Times >= 0 {
			f.Times--
			if f.Times <= 0 {
				s.faults = slices.Delete(s.faults, n, n+1)
			}
		}
		return f
	}
	return nil
}

// is tells whether this very fault befalls the call.
func (c *request) is(kind string) bool { return c.fault != nil && c.fault.Kind == kind }

// lose does to an answer what the fault says.
func (f *Fault) lose(ctx context.Context, closed <-chan struct{}, w http.ResponseWriter, answer reply) {
	wait := time.Duration(f.Delay)
	switch f.Kind {
	case Status:
		f.page().write(w)
		return
	case Limited:
		reply{status: http.StatusTooManyRequests, text: "API requests too frequent"}.write(w)
		return
	case Reset:
		panic(http.ErrAbortHandler)
	case Hang:
		if wait == 0 {
			wait = 24 * time.Hour
		}
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		panic(http.ErrAbortHandler)
	case <-closed:
		panic(http.ErrAbortHandler)
	case <-timer.C:
	}
	if f.Kind == Slow {
		answer.write(w)
		return
	}
	errorPage(http.StatusGatewayTimeout).write(w)
}

func (f *Fault) page() reply {
	var text string
	switch {
	case f.HTML || len(f.Body) == 0:
		return errorPage(f.Status)
	case json.Unmarshal(f.Body, &text) == nil:
		return reply{status: f.Status, text: text}
	}
	return reply{status: f.Status, body: f.Body}
}
