package vastsim

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/api-gpu/api-gpu/internal/transcript"
)

// livedLife is what a transcript tells of one instance: when its listings
// showed it in which state. Times are in seconds of the transcript; negative is
// never.
type livedLife struct {
	id      int64
	label   string
	created float64
	listed  float64            // first
	seen    float64            // last
	first   map[string]float64 // state → when it was first listed so
	gone    float64            // the first listing after, that lacks it
	ended   float64            // a DELETE of the account's was accepted
	lingers time.Duration      // it was listed for so long after that
	deeds   []livedDeed
}

// livedDeed is something that befell it.
type livedDeed struct {
	at float64
	do string
}

// endings are the states into which a machine comes by what befalls it.
var endings = map[string]string{exited: DoExit, stopped: DoReclaim, frozen: DoFreeze, offline: DoOffline, unknown: DoUnknown}

// livesOf reads the lives of all instances that the transcript's calls made.
func livesOf(calls []transcript.Exchange) (all []*livedLife) {
	for _, e := range calls {
		switch {
		case strings.Contains(e.Path, "/asks/"):
			if l := lifeOf(e); l != nil {
				all = append(all, l)
			}
		case e.Path == "/api/v1/instances/" && e.Status == 200:
			for _, l := range all {
				l.list(e)
			}
		case e.Method == "DELETE":
			for _, l := range all {
				if l.id == e.ID && e.Status/100 == 2 && l.ended < 0 {
					l.ended = e.At
				}
			}
		}
	}
	for _, l := range all {
		l.close()
	}
	return all
}

// lifeOf begins one with its create; nil where that made nothing.
func lifeOf(e transcript.Exchange) *livedLife {
	var answer struct {
		Contract int64 `json:"new_contract"`
	}
	var order struct{ Label string }
	if json.Unmarshal(e.Answer, &answer) != nil || answer.Contract == 0 || json.Unmarshal(e.Body, &order) != nil {
		return nil
	}
	return &livedLife{id: answer.Contract, label: order.Label, created: e.At, listed: -1, seen: -1, gone: -1, ended: -1, first: map[string]float64{}}
}

// list takes note of a listing.
func (l *livedLife) list(e transcript.Exchange) {
	var answer struct {
		Instances []struct {
			ID     int64   `json:"id"`
			Status *string `json:"actual_status"`
		}
	}
	if json.Unmarshal(e.Answer, &answer) != nil {
		return
	}
	for _, i := range answer.Instances {
		if i.ID != l.id {
			continue
		}
		if l.listed < 0 {
			l.listed = e.At
		}
		l.seen, l.gone = e.At, -1
		state := provisioning
		if i.Status != nil {
			state = *i.Status
		}
		if _, known := l.first[state]; !known {
			l.first[state] = e.At
		}
		return
	}
	if l.listed >= 0 && l.gone < 0 {
		l.gone = e.At
	}
}

// close turns what was seen into what befalls a machine of ours.
func (l *livedLife) close() {
	for state, do := range endings {
		if at, seen := l.first[state]; seen {
			l.deeds = append(l.deeds, livedDeed{at, do})
		}
	}
	switch {
	case l.ended >= 0 && l.seen > l.ended:
		l.lingers = since(l.seen-l.ended) + time.Millisecond
	case l.ended < 0 && l.gone >= 0:
		l.deeds = append(l.deeds, livedDeed{l.gone, DoVanish})
	}
	for n := range l.deeds { // few: in the order of their times
		for m := n; m > 0 && l.deeds[m].at < l.deeds[m-1].at; m-- {
			l.deeds[m], l.deeds[m-1] = l.deeds[m-1], l.deeds[m]
		}
	}
}

// never is how long a state lasts that is not known to have come.
const never = 1000 * time.Hour

// behaviour makes a machine of ours boot when the one that was listed did.
func (l *livedLife) behaviour() (b Behaviour) {
	// A little before it was listed so. Backwards: a state that no listing showed
	// was over when the next came.
	const sooner = 0.0004
	at := [3]float64{-1, -1, -1}
	for n, state := range []string{created, loading, running} {
		if seen, ok := l.first[state]; ok {
			at[n] = seen - sooner
		}
	}
	for n := 1; n >= 0; n-- {
		if at[n] < 0 && at[n+1] >= 0 {
			at[n] = at[n+1] - sooner/10
		}
	}
	before := l.created
	for n, to := range []*Duration{&b.Provision, &b.Create, &b.Pull} {
		*to = Duration(never)
		if at[n] >= 0 {
			*to = Duration(max(1, since(at[n]-before)))
			before = max(before, at[n])
		}
	}
	return b
}

// listLag is for how long a new instance was missing from listings.
func (l *livedLife) listLag() Duration {
	if l.listed < 0 {
		return Duration(never)
	}
	return max(1, Duration(since(l.listed-l.created)))
}
