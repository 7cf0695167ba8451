package test

import (
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// floors is the house: a package imports only packages of lower floors, and
// those of floor 0 the standard library only. It is drawn in CONTRIBUTING.md.
var floors = map[string]int{
	".":                   0, // what travels on the wire
	"internal/apng":       0, // animated pictures
	"internal/caption":    0, // words of captions, and their times
	"internal/crash":      0, // moments at which tests kill
	"internal/gpu":        0, // words of the rental
	"internal/pause":      0, // wait, but no longer than is wanted
	"internal/transcript": 0, // what was said to an API, for others to see

	// One outside thing each.
	"client":                   1,
	"internal/blob":            1,
	"internal/container":       1,
	"internal/db":              1,
	"internal/emoji":           1,
	"internal/fetch":           1,
	"internal/ffmpeg":          1,
	"internal/font":            1,
	"internal/httpapi":         1,
	"internal/link":            1,
	"internal/mp4":             1,
	"internal/program":         1,
	"internal/provider/local":  1,
	"internal/provider/static": 1,
	"internal/provider/vast":   1,
	"internal/registry":        1,
	"internal/selfdestroy":     1,
	"internal/show":            1,
	"internal/subtitle":        1,
	"internal/typeset":         1,
	"internal/vastsim":         1,

	// The life of a job: on the VPS, on the GPU.
	"internal/queue":  2,
	"internal/render": 2, // captions on pictures: of the worker, and of previews
	"internal/worker": 3,

	// Rent and destroy.
	"internal/fleet": 3,

	// HTTP in, drive jobs, notify: they meet in the queue. And what examines.
	"internal/server":   4,
	"internal/trial":    4, // one rental, to see what a marketplace does
	"internal/dispatch": 4,
	"internal/doctor":   4,
	"internal/webhook":  4,

	// Wiring, flags, environment.
	"cmd/api-gpu":      5,
	"cmd/orchestrator": 5,
	"cmd/vastsim":      5,
	"cmd/worker":       5,

	// Helpers of tests.
	"internal/db/dbtest":             2,
	"internal/provider/providertest": 1,
	"test/need":                      0,
}

// helpers serve tests, and are linked into no program.
var helpers = map[string]bool{"internal/db/dbtest": true, "internal/provider/providertest": true, "test/need": true}

// TestFloors holds every import against the house. It reads the files of all
// systems, not only those that are built here.
func TestFloors(t *testing.T) {
	t.Parallel()
	for _, fault := range floorFaults(imports(t), floors) {
		t.Error(fault)
	}
}

// TestFloorsSeesFaults holds the rule against faults that were planted.
func TestFloorsSeesFaults(t *testing.T) {
	t.Parallel()
	house := map[string]int{"low": 0, "left": 1, "right": 1, "high": 2, "test/need": 0}
	for name, c := range map[string]struct {
		from, to, want string
	}{
		"downward":              {"high", module + "/left", ""},
		"two floors down":       {"high", module + "/low", ""},
		"upward":                {"left", module + "/high", "left (floor 1) imports high (floor 2)"},
		"sideways":              {"left", module + "/right", "left (floor 1) imports right (floor 1)"},
		"no floor":              {"new", module + "/low", "new has no floor"},
		"of no floor":           {"high", module + "/new", "high imports new, which has no floor"},
		"a module on floor 0":   {"low", "golang.org/x/sync/errgroup", "low (floor 0) imports golang.org/x/sync/errgroup, which is not the standard library"},
		"a module above":        {"left", "golang.org/x/sync/errgroup", ""},
		"standard library":      {"low", "net/http", ""},
		"a helper of the tests": {"left", module + "/test/need", "left imports test/need, which is for tests"},
	} {
		got := floorFaults(map[string][]string{c.from: {c.to}}, house)
		if c.want == "" && len(got) > 0 || c.want != "" && !slices.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

// floorFaults returns what is wrong with the imports of each package.
func floorFaults(imports map[string][]string, floors map[string]int) (faults []string) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	for _, pkg := range slices.Sorted(maps.Keys(imports)) {
		floor, known := floors[pkg]
		if !known {
			fault("%s has no floor", pkg)
			continue
		}
		for _, path := range imports[pkg] {
			to, own := ownPackage(path)
			if !own {
				if floor == 0 && strings.Contains(strings.Split(path, "/")[0], ".") {
					fault("%s (floor 0) imports %s, which is not the standard library", pkg, path)
				}
				continue
			}
			switch below, known := floors[to]; {
			case !known:
				fault("%s imports %s, which has no floor", pkg, to)
			case below >= floor:
				fault("%s (floor %d) imports %s (floor %d)", pkg, floor, to, below)
			case helpers[to] && !helpers[pkg]:
				fault("%s imports %s, which is for tests", pkg, to)
			}
		}
	}
	return faults
}

// ownPackage returns the folder of a package of this module.
func ownPackage(path string) (string, bool) {
	if path == module {
		return ".", true
	}
	return strings.CutPrefix(path, module+"/")
}

// imports returns what each package imports outside of its tests. Packages
// that hold nothing but tests are not there.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	for _, f := range sources(t) {
		if f.isTest() {
			continue
		}
		list := found[f.pkg]
		for _, spec := range f.ast.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(list, path) {
				list = append(list, path)
			}
		}
		found[f.pkg] = list
	}
	return found
}

// workerLinks is all that the worker may link beside the standard library. It
// runs on a stranger's machine: no SQL, no account of a marketplace, no
// dashboard.
var workerLinks = struct{ packages, modules []string }{
	packages: []string{
		".", "cmd/worker", "internal/apng", "internal/caption", "internal/crash", "internal/emoji", "internal/fetch", "internal/ffmpeg", "internal/font", "internal/httpapi",
		"internal/link", "internal/mp4", "internal/pause", "internal/program", "internal/render", "internal/selfdestroy", "internal/subtitle", "internal/typeset", "internal/worker",
	},
	modules: []string{
		"code.dny.dev/ssrf", "github.com/alecthomas/kong", "github.com/danielgtaylor/huma/v2", "github.com/go-text/typesetting",
		"github.com/oklog/ulid/v2", "golang.org/x/image", "golang.org/x/sys", "golang.org/x/text", "golang.org/x/time",
	},
}

// TestWorkerLinks lists what the worker program is made of.
func TestWorkerLinks(t *testing.T) {
	t.Parallel()
	list := exec.CommandContext(t.Context(), "go", "list", "-buildvcs=false", "-deps", "-f",
		`{{.ImportPath}} {{with .Module}}{{.Path}}{{end}}`, "./cmd/worker")
	list.Dir = root
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := 0
	for line := range strings.Lines(string(out)) {
		path, mod, _ := strings.Cut(strings.TrimSpace(line), " ")
		own, isOwn := ownPackage(path)
		seen++
		switch {
		case path == "database/sql": // its driver package is but interfaces, which ulid answers
			t.Errorf("the worker links %s", path)
		case isOwn && !slices.Contains(workerLinks.packages, own):
			t.Errorf("the worker links %s of this module", own)
		case !isOwn && mod != "" && !slices.Contains(workerLinks.modules, mod):
			t.Errorf("the worker links %s of module %s", path, mod)
		}
	}
	if seen < 50 {
		t.Errorf("go list named %d packages: the listing is wrong", seen)
	}
}
