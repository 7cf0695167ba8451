package vast

import (
	"encoding/json"
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

// object is a JSON object whose members are read one by one, tolerantly: any
// may be missing, null, or of another type than yesterday, and the others are
// worth reading all the same.
type object map[string]json.RawMessage

// parseObject reads an object; nil when it is none.
func parseObject(raw []byte) object {
	var o object
	if json.Unmarshal(raw, &o) != nil {
		return nil
	}
	return o
}

// parseList reads an array; false when it is none. null is none.
func parseList(raw []byte) (list []json.RawMessage, ok bool) {
	if json.Unmarshal(raw, &list) != nil {
		return nil, false
	}
	return list, list != nil
}

// has tells whether the member is there and not null.
func (o object) has(name string) bool {
	raw, ok := o[name]
	return ok && string(raw) != "null"
}

// text is a string member without the space around it, or a number as it is
// written; empty for anything else.
func (o object) text(name string) string {
	raw := o[name]
	if len(raw) == 0 {
		return ""
	}
	if raw[0] == '"' {
		var s string
		_ = json.Unmarshal(raw, &s)
		return strings.TrimSpace(s)
	}
	if raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9' {
		return string(raw)
	}
	return ""
}

// exact is a string member as it is, empty for anything else: what names an
// instance must not become another name by a space less.
func (o object) exact(name string) (s string) {
	_ = json.Unmarshal(o[name], &s)
	return s
}

// number is a finite number, also one that is written as a string.
func (o object) number(name string) (float64, bool) {
	n, err := strconv.ParseFloat(o.text(name), 64)
	if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
		return 0, false
	}
	return n, true
}

// yes is a boolean, also one that is written as 0, 1 or a string.
func (o object) yes(name string) (value, known bool) {
	s := o.text(name)
	if s == "" {
		s = string(o[name])
	}
	value, err := strconv.ParseBool(s)
	return value, err == nil
}

// maxPrice is in dollars: an hour or a GB that costs more is a mistake, and so
// is one that costs less than nothing.
const maxPrice = 1e6

// usd is a price in dollars.
func (o object) usd(name string) (gpu.USD, bool) {
	n, ok := o.number(name)
	if !ok || n < 0 || n > maxPrice {
		return 0, false
	}
	return dollars(n), true
}

// dollars rounds to a nanodollar.
func dollars(n float64) gpu.USD { return gpu.USD(math.Round(n * float64(gpu.Dollar))) }

var digits = regexp.MustCompile(`^[1-9][0-9]{0,18}$`)

// validID tells whether s is an id as the API gives them. Only such go into a
// path: nothing else could mean another instance there.
func validID(s string) bool {
	_, err := strconv.ParseInt(s, 10, 64)
	return err == nil && digits.MatchString(s)
}

// id is a positive integer as text, also where it is written as 1.2e7 or as a
// string; empty when it is none.
func (o object) id(name string) string {
	s := o.text(name)
	if validID(s) {
		return s
	}
	n, ok := o.number(name)
	if !ok || n != math.Trunc(n) || n < 1 || n >= 1<<53 {
		return ""
	}
	return strconv.FormatInt(int64(n), 10)
}

// maxText bounds a text of the API's in our errors and rows.
const maxText = 300

// oneLine makes a text of the API's fit for a log: printable, in one line, not
// too long.
func oneLine(s string) string {
	s = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(s, "?"), func(r rune) bool {
		return r == ' ' || !strconv.IsPrint(r)
	}), " ")
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "") + "…"
}
