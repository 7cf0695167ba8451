package httpapi

import (
	"os"
	"regexp"
	"strconv"
	"testing"

	"github.com/api-gpu/api-gpu"
)

// Every code stands once in the pages of errors, with its status and whether
// it is worth to try again.
func TestEveryCodeIsDocumented(t *testing.T) {
	t.Parallel()
	row := regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| (\\d+) \\| (\\S+) \\| (.+) \\| (.+) \\|$")
	for file, again := range map[string]map[bool]string{
		"../../docs/ERRORS.md":   {true: "yes", false: "no"},
		"../../docs/pt/ERROS.md": {true: "sim", false: "não"},
	} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[apigpu.Code]bool{}
		for _, m := range row.FindAllStringSubmatch(string(text), -1) {
			code := apigpu.Code(m[1])
			if _, known := answers[code]; !known || seen[code] {
				t.Errorf("%s: %q is no code, or stands there twice", file, code)
			}
			seen[code] = true
			if m[2] != strconv.Itoa(Status(code)) || m[3] != again[code.Retryable()] {
				t.Errorf("%s: %s has status %s, again %s; it is %d, %s", file, code, m[2], m[3], Status(code), again[code.Retryable()])
			}
		}
		for _, code := range declaredCodes(t) {
			if !seen[code] {
				t.Errorf("%s lacks %s", file, code)
			}
		}
	}
}
