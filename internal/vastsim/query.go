package vastsim

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// condition is one comparison of the query language.
type condition struct {
	column, op string
	value      any
}

// row is an object as the API shows it.
type row = map[string]any

// operators of the query language. There is none for prefixes.
var operators = []string{"eq", "neq", "gt", "gte", "lt", "lte", "in", "notin"}

// conditions reads {"column":{"op":value}}. The errors are the API's texts.
func conditions(query row, known func(column string) bool) ([]condition, error) {
	var all []condition
	for column, value := range query {
		if !known(column) {
			return nil, refused("Error in query parameters: %s is not a valid search key", column)
		}
		if list, isList := value.([]any); isList && len(list) > 0 {
			return nil, refused("0 is not a valid search op")
		}
		ops, isObject := value.(row)
		if !isObject {
			return nil, refused(mustBeDict)
		}
		for op, v := range ops {
			if !slices.Contains(operators, op) {
				return nil, refused("%s is not a valid search op", op)
			}
			if _, isList := v.([]any); isList != (op == "in" || op == "notin") {
				return nil, refused(mustBeDict)
			}
			all = append(all, condition{column, op, v})
		}
	}
	return all, nil
}

// refusal is a text of the API that says why something is refused.
type refusal string

func (r refusal) Error() string { return string(r) }

func refused(format string, args ...any) error { return refusal(fmt.Sprintf(format, args...)) }

// Texts of the API.
const (
	mustBeDict  = "Invalid query: must be dict of conditions"
	invalidJSON = "Invalid json body"
)

// match tells whether a value of a row meets the condition. Null meets no
// comparison of size.
func (c condition) match(have any) bool {
	have = plain(have)
	same := func(want any) bool { return reflect.DeepEqual(have, like(have, plain(want))) }
	switch c.op {
	case "eq":
		return same(c.value)
	case "neq":
		return !same(c.value)
	case "in", "notin":
		list, _ := c.value.([]any)
		return slices.ContainsFunc(list, same) == (c.op == "in")
	}
	order, comparable := compare(have, like(have, plain(c.value)))
	if !comparable {
		return false
	}
	switch c.op {
	case "gt":
		return order > 0
	case "gte":
		return order >= 0
	case "lt":
		return order < 0
	}
	return order <= 0
}

// like reads a text as what it is compared with: the client of Vast.ai sends
// what its user typed, "1" and "true" with quotes around.
func like(have, want any) any {
	text, isText := want.(string)
	if !isText {
		return want
	}
	switch have.(type) {
	case float64:
		if n, err := strconv.ParseFloat(text, 64); err == nil {
			return n
		}
	case bool:
		if b, err := strconv.ParseBool(text); err == nil {
			return b
		}
	}
	return want
}

// compare compares numbers with numbers and texts with texts.
func compare(a, b any) (order int, ok bool) {
	switch a := a.(type) {
	case float64:
		if b, same := b.(float64); same {
			return cmp.Compare(a, b), true
		}
	case string:
		if b, same := b.(string); same {
			return cmp.Compare(a, b), true
		}
	}
	return 0, false
}

// plain turns every number into a float64, as JSON knows no other.
func plain(v any) any {
	r := reflect.ValueOf(v)
	switch {
	case !r.IsValid():
		return nil
	case r.CanInt():
		return float64(r.Int())
	case r.CanFloat():
		return r.Float()
	}
	return v
}

// column is one of those that order the answer.
type column struct {
	name string
	desc bool
}

// sortRows orders rows by columns; null comes first.
func sortRows(rows []row, by []column) {
	slices.SortStableFunc(rows, func(a, b row) int { return compareRows(a, b, by) })
}

func compareRows(a, b row, by []column) int {
	for _, c := range by {
		x, y := plain(a[c.name]), plain(b[c.name])
		order, ok := compare(x, y)
		if !ok {
			order = cmp.Compare(rank(x), rank(y))
		}
		if order != 0 && c.desc {
			return -order
		}
		if order != 0 {
			return order
		}
	}
	return 0
}

func rank(v any) int {
	if v == nil {
		return 0
	}
	return 1
}

// choose keeps the columns that were asked for: ["*"], or nothing, is all.
// Names that do not exist come as null.
func choose(r row, columns []string) row {
	if len(columns) == 0 || slices.Contains(columns, "*") {
		return r
	}
	some := row{}
	for _, name := range columns {
		some[name] = r[name]
	}
	return some
}

// readObject reads one JSON object and nothing after it. Nothing at all is an
// empty object.
func readObject(text []byte) (row, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return row{}, nil
	}
	var object row
	d := json.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(&object); err != nil || object == nil {
		return nil, refused(invalidJSON)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, refused(invalidJSON)
	}
	return object, nil
}

// country is the two letters at the end of a geolocation.
func country(geolocation string) string {
	g := strings.TrimSpace(geolocation)
	return g[max(0, len(g)-2):]
}
