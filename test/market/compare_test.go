package market

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/api-gpu/api-gpu/internal/vastsim"
)

// A field that the adapter reads is one that a comparison with the real API
// must not find changed.
func TestWhatIsReadIsCompared(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../internal/provider/vast/*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	reads := regexp.MustCompile(`\.(?:text|exact|number|usd|id|yes|has|list)\("([a-z_0-9]+)"\)|traffic\(row, "([a-z_]+)", "([a-z_]+)"\)`)
	seen := 0
	for _, file := range files {
		if ok, _ := filepath.Match("*_test.go", filepath.Base(file)); ok {
			continue
		}
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range reads.FindAllStringSubmatch(string(raw), -1) {
			for _, field := range m[1:] {
				if field == "" {
					continue
				}
				seen++
				if !vastsim.ReliesOn(field) {
					t.Errorf("%s reads %q, which relied in internal/vastsim/compare.go does not have", filepath.Base(file), field)
				}
			}
		}
	}
	if seen < 30 {
		t.Errorf("%d reads were found: the search is wrong", seen)
	}
}
