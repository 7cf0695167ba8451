package test

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
)

// isGuide reports whether a document is one that users follow, in English.
func isGuide(name string) bool {
	dir := path.Dir(name)
	return name == "README.md" || path.Ext(name) == ".md" && (dir == "docs" || dir == "docs/recipes")
}

// block is a part of a document between fences.
type block struct {
	before   string // the line above it
	language string
	text     string
}

var fenced = regexp.MustCompile("(?s)([^\n]*)\n( *)```(\\w+)\n(.*?)\n *```")

func blocksOf(text string) (all []block) {
	for _, m := range fenced.FindAllStringSubmatch(text, -1) {
		all = append(all, block{m[1], m[3], m[4]})
	}
	return all
}

// TestEveryCommandIsAccountedFor wants to know of each command that a guide
// shows what runs it: a story (run), another test or script (run by), somebody
// who saw it work (by hand), or nothing yet, and why (untried).
func TestEveryCommandIsAccountedFor(t *testing.T) {
	t.Parallel()
	mark := regexp.MustCompile(`^<!-- (run|run by|by hand|untried): (.+) -->$`)
	for _, name := range documents(t) {
		if !isGuide(name) {
			continue
		}
		for _, b := range blocksOf(read(t, name)) {
			if b.language != "sh" {
				continue
			}
			m := mark.FindStringSubmatch(b.before)
			if m == nil {
				t.Errorf("%s does not say what runs this, in a comment right above it:\n%s", name, b.text)
				continue
			}
			if m[1] != "run by" {
				continue // stories know their own
			}
			for file := range strings.SplitSeq(m[2], ", ") {
				if _, err := os.Stat(filepath.Join(root, file)); err != nil {
					t.Errorf("%s says that %s runs this, which is not there:\n%s", name, file, b.text)
				}
			}
		}
	}
}

// translated are the documents that there are in Portuguese, too.
var translated = map[string]string{
	"README.md":                   "docs/pt/README.md",
	"docs/QUICKSTART.md":          "docs/pt/QUICKSTART.md",
	"docs/DEPLOY_EASYPANEL.md":    "docs/pt/DEPLOY_EASYPANEL.md",
	"docs/FAQ.md":                 "docs/pt/FAQ.md",
	"docs/ERRORS.md":              "docs/pt/ERROS.md",
	"docs/recipes/curl.md":        "docs/pt/recipes/curl.md",
	"docs/recipes/make.md":        "docs/pt/recipes/make.md",
	"docs/recipes/n8n-wait.md":    "docs/pt/recipes/n8n-wait.md",
	"docs/recipes/n8n-webhook.md": "docs/pt/recipes/n8n-webhook.md",
}

// TestBothLanguagesSayTheSame compares what can be compared: the headings by
// their number and level, paragraphs, items of lists and the rows of tables by
// their number, and the blocks letter by letter, but for their comments.
func TestBothLanguagesSayTheSame(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for english, portuguese := range translated {
		known[portuguese] = true
		en, pt := read(t, english), read(t, portuguese)
		if diff := cmp.Diff(outline(en), outline(pt)); diff != "" {
			t.Errorf("%s has other headings, blocks or tables than %s (-English +Portuguese)\n%s", portuguese, english, diff)
		}
		for _, p := range [][2]string{{english, portuguese}, {portuguese, english}} {
			there, err := filepath.Rel(filepath.FromSlash(path.Dir(p[0])), filepath.FromSlash(p[1]))
			if err != nil {
				t.Fatal(err)
			}
			head, _, _ := strings.Cut(read(t, p[0]), "\n## ")
			if !strings.Contains(head, "]("+filepath.ToSlash(there)+")") {
				t.Errorf("%s has no link to %s at its top", p[0], p[1])
			}
		}
	}
	walk(t, func(name string) {
		if strings.HasPrefix(name, "docs/pt/") && !known[name] {
			t.Errorf("%s is not compared with an English one", name)
		}
	})
	for english := range translated {
		if strings.HasPrefix(english, "docs/recipes/") {
			known[english] = true
		}
	}
	walk(t, func(name string) {
		if path.Dir(name) == "docs/recipes" && path.Ext(name) == ".md" && !known[name] {
			t.Errorf("%s is not there in Portuguese", name)
		}
	})
}

// outline is what a document has in any language. What only the English one has
// is marked there: the table of settings, which the program prints, and what is
// said to be english only; so is what only the Portuguese one has.
func outline(text string) (lines []string) {
	text = regexp.MustCompile(`(?s)<!-- (settings|english only|portuguese only) -->.*?<!-- /(settings|english only|portuguese only) -->`).ReplaceAllString(text, "")
	comment := regexp.MustCompile(`(?m)(^|\s+)#.*$`)
	heading := regexp.MustCompile(`^#+ `)
	item := regexp.MustCompile(`^\s*(?:[-*]|\d+\.) `)
	fence, rows, inside := false, 0, false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \n")
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fence, inside = !fence, false
			lines = append(lines, strings.TrimSpace(line))
			continue
		}
		isRow := !fence && strings.HasPrefix(line, "|")
		switch {
		case isRow:
			rows++
		case rows > 0:
			lines, rows = append(lines, "a table of "+strings.Repeat("|", rows)), 0
		}
		switch {
		case fence:
			if line = comment.ReplaceAllString(line, ""); line != "" {
				lines = append(lines, strings.Join(strings.Fields(line), " "))
			}
		case heading.MatchString(line):
			lines, inside = append(lines, heading.FindString(line)), false
		case line == "" || isRow || strings.HasPrefix(line, "<!--"):
			inside = false
		case item.MatchString(line):
			lines, inside = append(lines, "an item"), true
		case !inside:
			lines, inside = append(lines, "a paragraph"), true
		}
	}
	return lines
}

// TestDocumentAnchors follows links to headings, as GitHub names them.
func TestDocumentAnchors(t *testing.T) {
	t.Parallel()
	link := regexp.MustCompile(`\]\(([^)\s#]*)#([^)\s]+)\)`)
	for _, name := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(read(t, name), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			target := name
			if m[1] != "" {
				target = path.Join(path.Dir(name), m[1])
			}
			if path.Ext(target) == ".md" && !anchors(read(t, target))[m[2]] {
				t.Errorf("%s links to %s#%s, which is no heading there", name, m[1], m[2])
			}
		}
	}
}

// anchors are the names of a document's headings.
func anchors(text string) map[string]bool {
	all := map[string]bool{}
	plain := regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text, -1) {
		name := strings.ToLower(plain.ReplaceAllString(m[1], "$1"))
		all[strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r):
				return r
			}
			return -1
		}, name)] = true
	}
	return all
}

// elsewhere are names in capitals that guides speak of and that are no settings
// of the orchestrator.
var elsewhere = []string{
	"SESSION_TOKEN", "ALLOWED_IPS", "TLS_SEED", "END_BY", "SCHEDULES", // the worker's, and the tests'
	"API_GPU_URL", "API_GPU_KEY", // the client's
	"DEPLOY_EASYPANEL", "DEPLOY_VPS", // files
	"BUILD_PROCS", "WORKER_IMAGE", "GO_IMAGE", "DEBIAN_IMAGE", "BUSYBOX_IMAGE", // arguments of the images' builds
	"N8N_DEFAULT_BINARY_DATA_MODE", "WEBHOOK_URL", "PRIMARY_DOMAIN", "EASYPANEL_DOMAIN", "RLIMIT_DATA", "RLIMIT_AS",
}

// TestGuidesNameSettingsThatExist finds misspelt variables, and those that went.
func TestGuidesNameSettingsThatExist(t *testing.T) {
	t.Parallel()
	table := orchestrator(t, "config")
	quoted, name := regexp.MustCompile("`[^`\n]+`"), regexp.MustCompile(`\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b`)
	for _, file := range documents(t) {
		if !isGuide(file) && translatedFrom(file) == "" {
			continue
		}
		text, _, _ := strings.Cut(read(t, file), "<!-- settings -->") // the table itself comes from the program
		for _, q := range quoted.FindAllString(text, -1) {
			for _, n := range name.FindAllString(q, -1) {
				if !strings.Contains(table, "`"+n+"`") && !slices.Contains(elsewhere, n) {
					t.Errorf("%s speaks of %s, which is no setting", file, n)
				}
			}
		}
	}
}

// translatedFrom is the English document of a Portuguese one; empty for others.
func translatedFrom(portuguese string) string {
	for en, pt := range translated {
		if pt == portuguese {
			return en
		}
	}
	return ""
}

// TestCostsAreDocumented compares the tables of costs with what the program
// reckons.
func TestCostsAreDocumented(t *testing.T) {
	t.Parallel()
	shown := between(t, read(t, "docs/COSTS.md"), "<!-- costs -->\n", "<!-- /costs -->")
	if diff := cmp.Diff(orchestrator(t, "costs"), shown); diff != "" {
		t.Errorf("docs/COSTS.md shows other costs than the program reckons: run make docs (-program +page)\n%s", diff)
	}
}

// TestStylesAreDocumented compares the tables of presets, animations, safe areas
// and limits with the data that captions are drawn by.
func TestStylesAreDocumented(t *testing.T) {
	t.Parallel()
	shown := between(t, read(t, "docs/CAPTIONS.md"), "<!-- styles -->\n", "<!-- /styles -->")
	if diff := cmp.Diff(orchestrator(t, "styles"), shown); diff != "" {
		t.Errorf("docs/CAPTIONS.md shows other styles than the program has: run make docs (-program +page)\n%s", diff)
	}
}
