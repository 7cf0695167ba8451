package fleet

import (
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
)

// SplitLabel takes a label apart into the fleet and the name in it. It is false
// of all that Label cannot have made: other programs name their machines too.
func SplitLabel(label string) (fleet, name string, ok bool) {
	rest, ok := strings.CutPrefix(label, labelPrefix)
	if !ok {
		return "", "", false
	}
	fleet, name, ok = strings.Cut(rest, ".")
	return fleet, name, ok && fleetID.MatchString(fleet) && name != "" && !strings.Contains(name, ".")
}

// Born is when the instance of a label was asked for: its name begins with the
// time. It is the zero time where it does not.
func Born(label string) time.Time {
	_, name, ok := SplitLabel(label)
	if !ok {
		return time.Time{}
	}
	id, err := ulid.ParseStrict(name)
	if err != nil {
		return time.Time{}
	}
	return id.Timestamp().UTC()
}

// SweepCommand ends a whole fleet from any machine, with nothing but the
// account's key. It is empty where no account is: then there is nothing to
// sweep. fleet may come from a label of the account, and has its letters only.
func SweepCommand(provider, fleet string) string {
	if provider != "vast" || !fleetID.MatchString(fleet) {
		return ""
	}
	return "VAST_API_KEY=... orchestrator sweep --fleet=" + fleet
}
