package httpapi

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestCheckJSON(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, in, wrong string }{
		{"nothing", ``, ""},
		{"an object", `{"a": 1, "b": {"a": [1, {"a": 2}, {"a": 3}]}, "c": {}}`, ""},
		{"a value that is a name elsewhere", `{"a": "a", "b": "a"}`, ""},
		{"no JSON", `{"a": }`, ""},
		{"more after the end", `{"a": 1} {"a": 2, "a": 3}`, ""},
		{"twice", `{"a": 1, "a": 2}`, "twice"},
		{"twice but for case", `{"url_srt": "x", "URL_SRT": "y"}`, "twice"},
		{"twice, escaped", `{"a": 1, "\u0061": 2}`, "twice"},
		{"twice, within", `{"o": [{"x": {"a": 1, "b": 2, "a": 3}}]}`, "twice"},
		{"after a list", `{"a": [1, 2], "a": 3}`, "twice"},
		{"after an object", `{"a": {"b": 1}, "a": 3}`, "twice"},
		{"deep", strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth), ""},
		{"too deep", strings.Repeat("[", maxDepth+1), "deep"},
		{"far too deep", strings.Repeat(`{"a":`, 1_000_000), "deep"},
		{"a huge number", `{"a": 1e99999999}`, ""},
	} {
		err := checkJSON([]byte(c.in))
		if (err == nil) != (c.wrong == "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func FuzzCheckJSON(f *testing.F) {
	for _, s := range []string{`{"a": 1, "a": 2}`, `{"a": [{"b": {}}], "c": null}`, `]`, `{]`, `[1, "a", {"x": `} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if checkJSON([]byte(s)) != nil || !json.Valid([]byte(s)) {
			return
		}
		var v any
		if err := json.Unmarshal([]byte(s), &v); err != nil {
			return
		}
		again, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if err := checkJSON(again); err != nil && !strings.Contains(err.Error(), "twice") {
			t.Errorf("%q passes, and %q does not: %v", s, again, err)
		}
	})
}
