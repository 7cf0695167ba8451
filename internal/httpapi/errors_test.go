package httpapi

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/api-gpu/api-gpu"
)

// What the guides say of a code is said of one that there is, with its status.
func TestCodesInGuidesExist(t *testing.T) {
	t.Parallel()
	seen := 0
	said := regexp.MustCompile("([45]\\d\\d) `?([a-z_]+)`") // `401 unauthorized`, or 401 `unauthorized`
	for _, file := range []string{"OPERATIONS.md", "DEPLOY_EASYPANEL.md", "pt/DEPLOY_EASYPANEL.md", "QUICKSTART.md", "pt/QUICKSTART.md", "SECURITY.md"} {
		text, err := os.ReadFile("../../docs/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range said.FindAllStringSubmatch(string(text), -1) {
			seen++
			if _, known := answers[apigpu.Code(m[2])]; !known || m[1] != strconv.Itoa(Status(apigpu.Code(m[2]))) {
				t.Errorf("%s says %s %s; the status of that is %d", file, m[1], m[2], Status(apigpu.Code(m[2])))
			}
		}
	}
	if seen < 20 {
		t.Errorf("only %d were found", seen)
	}
}

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

// Every field of a request stands in the guide to captions, an object by its
// members or by an example.
func TestEveryFieldIsDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/CAPTIONS.md")
	if err != nil {
		t.Fatal(err)
	}
	fields := fieldNames(&captionBody{})
	for _, name := range fields {
		last := name[strings.LastIndex(name, ".")+1:]
		if !strings.Contains(string(text), "`"+name+"`") && !strings.Contains(string(text), `"`+last+`":`) && !slices.ContainsFunc(fields, func(f string) bool {
			return strings.HasPrefix(f, name+".")
		}) && !strings.Contains(string(text), "`"+last+"`") {
			t.Errorf("docs/CAPTIONS.md says nothing of %s", name)
		}
	}
}
