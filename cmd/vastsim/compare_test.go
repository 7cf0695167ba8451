package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/api-gpu/api-gpu/internal/transcript"
)

// written is a file with a transcript of one call.
func written(t *testing.T, answer string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "transcript.jsonl")
	var b bytes.Buffer
	err := transcript.Write(&b, transcript.Head{Version: "v1", Lost: 2}, []transcript.Exchange{
		{Method: "GET", Path: "/api/v1/instances/", Status: 200, Answer: json.RawMessage(answer)}, {Method: "GET", Path: "/api/v1/instances/", Status: 429, Text: "slow down"},
	})
	if err == nil {
		err = os.WriteFile(path, b.Bytes(), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCompare(t *testing.T) {
	t.Parallel()
	same := `{"success":true,"total_instances":0,"instances_found":0,"label_counts":{},"next_token":null,"instances":[]}`
	for name, c := range map[string]struct{ answer, said, err string }{
		"the same":              {same, "No difference of shape", ""},
		"what nobody reads":     {strings.Replace(same, `"label_counts":{},`, "", 1), "None of it is relied on", ""},
		"what we rely on":       {strings.Replace(same, `"instances":[]`, `"instances":{}`, 1), "YES", "1 of 1 differences"},
		"a member that we read": {strings.Replace(same, `"next_token":null,`, "", 1), "next_token", "1 of 1 differences"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			err := run(t.Context(), []string{"--compare", written(t, c.answer)}, &out, io.Discard)
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("ended with %v, want %q", err, c.err)
			}
			for _, want := range []string{c.said, "2 calls, written by version v1", "2 more were not kept", "asked too often"} {
				if !strings.Contains(out.String(), want) {
					t.Errorf("%q was not said:\n%s", want, &out)
				}
			}
		})
	}
	for _, path := range []string{"/does/not/exist", written(t, `{}`)} {
		if path != "/does/not/exist" {
			if err := os.WriteFile(path, []byte("no transcript"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := run(t.Context(), []string{"--compare", path}, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), "--compare") {
			t.Errorf("%s: %v", path, err)
		}
	}
}
