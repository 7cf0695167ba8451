package main

import (
	"strings"
	"testing"
)

func TestSummarize(t *testing.T) {
	t.Parallel()
	const pkg = `"Package":"github.com/api-gpu/api-gpu/internal/x"`
	for name, c := range map[string]struct {
		in     string
		passed bool
		want   []string
		never  string
	}{
		"passes": {
			in: `{"Action":"output",` + pkg + `,"Test":"TestA","Output":"noise\n"}
{"Action":"pass",` + pkg + `,"Test":"TestA"}
{"Action":"pass",` + pkg + `,"Elapsed":1.5}`,
			passed: true, want: []string{"ok    internal/x 1.5s\n", "0 skipped\n1 passed, 0 failed\n"}, never: "noise",
		},
		"counts": {
			in: `{"Action":"output",` + pkg + `,"Test":"TestA","Output":"    a_test.go:1: counted: 200 schedules\n"}
{"Action":"pass",` + pkg + `,"Test":"TestA"}
{"Action":"pass",` + pkg + `}`,
			passed: true, want: []string{"      internal/x TestA: 200 schedules\n"}, never: "a_test.go",
		},
		"fails": {
			in: `{"Action":"output",` + pkg + `,"Test":"TestA","Output":"=== RUN TestA\n"}
{"Action":"output",` + pkg + `,"Test":"TestA","Output":"got 1, want 2\n"}
{"Action":"fail",` + pkg + `,"Test":"TestA"}
{"Action":"fail",` + pkg + `}`,
			want: []string{"got 1, want 2\n", "FAIL  internal/x 0s\n", "0 passed, 1 failed\n"}, never: "=== RUN",
		},
		"skips": {
			in: `{"Action":"output",` + pkg + `,"Test":"TestA","Output":"    a_test.go:1: needs a GPU\n"}
{"Action":"output",` + pkg + `,"Test":"TestA","Output":"--- SKIP: TestA (0.00s)\n"}
{"Action":"skip",` + pkg + `,"Test":"TestA"}
{"Action":"pass",` + pkg + `,"Test":"TestB"}`,
			passed: true, want: []string{"skipped: internal/x TestA: a_test.go:1: needs a GPU\n", "1 skipped\n1 passed, 0 failed\n"},
		},
		"does not build": {
			in: `{"ImportPath":"x [x.test]","Action":"build-output","Output":"undefined: y\n"}
{"ImportPath":"x [x.test]","Action":"build-fail"}
{"Action":"fail",` + pkg + `,"FailedBuild":"x [x.test]"}`,
			want: []string{"undefined: y\n", "FAIL  internal/x 0s\n", "0 passed, 1 failed\n"},
		},
		"crashes": {
			in: `{"Action":"output",` + pkg + `,"Test":"TestA","Output":"panic: boom\n"}
{"Action":"fail",` + pkg + `}`,
			want: []string{"panic: boom\n", "0 passed, 1 failed\n"},
		},
		"ran nothing":  {in: "go: no such module\n", want: []string{"go: no such module\n", "0 passed, 0 failed\n"}},
		"said nothing": {want: []string{"0 passed, 0 failed\n"}},
	} {
		var out strings.Builder
		passed, err := summarize(strings.NewReader(c.in), &out)
		if err != nil || passed != c.passed {
			t.Errorf("%s: passed %v, error %v", name, passed, err)
		}
		for _, want := range c.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: no %q in\n%s", name, want, out.String())
			}
		}
		if c.never != "" && strings.Contains(out.String(), c.never) {
			t.Errorf("%s: %q in\n%s", name, c.never, out.String())
		}
	}
}
