package httpapi

import (
	"reflect"
	"slices"
	"strings"
)

// fieldNames lists the JSON names of a struct's fields, those of nested
// structs with their path: output.quality.
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
		if f.Type.Kind() == reflect.Struct {
			names = append(names, fieldPaths(f.Type, below)...)
		}
	}
	return names
}

// nearest returns the known name that a mistyped one was most likely meant to
// be, or "" when none is near: case, dashes and word order don't count
// (urlVideo and video_url are both url_video), and two slips of a finger are
// forgiven. The path before a name need not be given.
func nearest(name string, known []string) string {
	best, distance := "", 3
	tail := name[strings.LastIndexByte(name, '.')+1:]
	for _, k := range known {
		last := k[strings.LastIndexByte(k, '.')+1:]
		if words(name) == words(k) || words(tail) == words(last) {
			return k
		}
		if d := editDistance(strings.ToLower(tail), last); d < distance {
			best, distance = k, d
		}
	}
	return best
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
