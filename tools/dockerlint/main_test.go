package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What docker build --check would say of our images, without an engine.
func TestImages(t *testing.T) {
	files, err := filepath.Glob("../../docker/*.Dockerfile")
	if err != nil || len(files) != 2 {
		t.Fatalf("found %q, %v: want those of orchestrator and worker", files, err)
	}
	var out strings.Builder
	if found, err := check(t.Context(), &out, files); err != nil || found > 0 {
		t.Errorf("%d warnings, %v\n%s", found, err, &out)
	}
}

// The checks must bite.
func TestCheck(t *testing.T) {
	for text, want := range map[string]string{
		"FROM debian\nCMD echo\n":            ":2: JSONArgsRecommended",
		"FROM debian\nENV API_TOKEN=x\n":     ":2: SecretsUsedInArgOrEnv",
		"FROM debian\nCOPY --from=b /a /b\n": "",
		"FROM debian\nNONSENSE\n":            "unknown instruction",
	} {
		file := filepath.Join(t.TempDir(), "Dockerfile")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		found, err := check(t.Context(), &out, []string{file})
		if err != nil || (found > 0) != (want != "") || !strings.Contains(out.String(), want) {
			t.Errorf("%q: %d, %v, %s", text, found, err, &out)
		}
	}
	if _, err := check(t.Context(), &strings.Builder{}, []string{"missing"}); err == nil {
		t.Error("a file that is not there was checked")
	}
}
