package httpapi

import (
	"reflect"
	"slices"
	"strings"
)

// fieldNames lists the JSON names of a struct's fields, those of nested
// structs, and of structs in lists, with their path: output.quality.
func fieldNames(v any) []string {
	t := reflect.TypeOf(v)
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return fieldPaths(t, "")
}

func fieldPaths(t reflect.Type, prefix string) []string {
	var names []string
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		below := prefix // an embedded struct adds nothing to the path
		if name != "" && name != "-" {
			names = append(names, prefix+name)
			below = prefix + name + "."
		}
		inner := f.Type
		if inner.Kind() == reflect.Slice {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct {
			names = append(names, fieldPaths(inner, below)...)
		}
	}
	return names
}

// nearest returns the known name that a mistyped one was most likely meant to
// be, or "" when none is near: case, dashes and word order don't count
// (urlVideo and video_url are both url_video), and two slips of a finger are
// forgiven. The path before a name need not be given. Of two that are as near,
// the one with the path that was given is meant, then the one with the shortest.
func nearest(name string, known []string) string {
	best, distance := "", 3
	path, tail := cutLast(name)
	rank := func(k string) int {
		if in, _ := cutLast(k); in == path || path != "" && strings.HasSuffix(in, "."+path) {
			return -1
		}
		return strings.Count(k, ".")
	}
	for _, k := range known {
		_, last := cutLast(k)
		d := editDistance(strings.ToLower(tail), last)
		if words(tail) == words(last) || endsAs(k, words(name)) {
			d = 0
		}
		if d >= len(last) { // nothing of it is left
			continue
		}
		if d < distance || d == distance && best != "" && rank(k) < rank(best) {
			best, distance = k, d
		}
	}
	return best
}

// endsAs reports whether a name, or the end of its path, has these words.
func endsAs(name, want string) bool {
	for {
		if words(name) == want {
			return true
		}
		_, rest, more := strings.Cut(name, ".")
		if !more {
			return false
		}
		name = rest
	}
}

// cutLast parts a name from the path before it.
func cutLast(name string) (path, last string) {
	dot := strings.LastIndexByte(name, '.')
	return name[:max(dot, 0)], name[dot+1:]
}

// words returns the letters and digits of each word of a name, sorted.
func words(name string) string {
	var spaced strings.Builder
	for i, r := range name {
		if r >= 'A' && r <= 'Z' && i > 0 {
			spaced.WriteByte(' ')
		}
		if r == '_' || r == '-' || r == '.' {
			r = ' '
		}
		spaced.WriteRune(r)
	}
	w := strings.Fields(strings.ToLower(spaced.String()))
	slices.Sort(w)
	return strings.Join(w, " ")
}

// editDistance is Levenshtein's: single-byte insertions, deletions and
// replacements. Names longer than 64 bytes are taken as far from everything.
func editDistance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
