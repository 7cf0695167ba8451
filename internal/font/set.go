package font

import (
	"cmp"
	"fmt"
	"image"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/go-text/typesetting/harfbuzz"
	"github.com/go-text/typesetting/segmenter"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/caption"
)

// Set is the fonts of a machine. It may be used by several goroutines at once.
type Set struct {
	base, hash string
	own        int // how many faces are there before those of another set

	mu       sync.Mutex
	faces    []*face            // sorted by name and weight
	families map[string][]*face // lower-case name → its faces
	buf      *harfbuzz.Buffer
	seg      segmenter.Segmenter
	drawn    map[drawnKey]*face        // which face draws a cluster; nil is none
	runs     map[runsKey][]caption.Run // what was measured
	colour   *face                     // of emoji in colour; nil without one
	pictures map[string]image.Image    // emoji → its picture, or nil
}

// maxFontFiles bounds the search for fonts.
const maxFontFiles = 50_000

// maxRemembered bounds what is kept of answers, each about 200 bytes.
const maxRemembered = 50_000

// SystemDirs are where fonts are on Linux, macOS and the BSDs.
func SystemDirs() []string {
	dirs := []string{"/usr/share/fonts", "/usr/local/share/fonts", "/System/Library/Fonts", "/Library/Fonts"}
	if home, err := os.UserHomeDir(); err == nil {
		dirs = append(dirs, filepath.Join(home, ".fonts"), filepath.Join(home, ".local/share/fonts"))
	}
	return dirs
}

// Find reads what the fonts in dirs are. A file that cannot be read is not
// there. The error has the code NoEncoder where none is a font for captions.
func Find(dirs []string) (*Set, error) {
	var paths, sizes []string
	seen := 0
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if seen++; seen > maxFontFiles {
				return fs.SkipAll
			}
			if err == nil && !entry.IsDir() && isFontFile(path) {
				paths = append(paths, path)
				if info, err := os.Stat(path); err == nil {
					sizes = append(sizes, fmt.Sprintf("%s %d", filepath.Base(path), info.Size()))
				}
			}
			return nil // what cannot be read is not there
		})
		if err != nil {
			return nil, fmt.Errorf("search fonts: %w", err)
		}
	}
	s := &Set{families: map[string][]*face{}, buf: harfbuzz.NewBuffer()}
	s.colour = s.add(paths)
	s.hash = hashOf(sizes)
	return s, s.findBase()
}

// findBase chooses the family that captions are set in.
func (s *Set) findBase() error {
	for _, name := range base() {
		if s.Has(name) {
			s.base = name
			return nil
		}
	}
	return apigpu.E(apigpu.NoEncoder, nil, "No font for captions is installed.").
		WithHint("Install Noto Sans (Debian: fonts-noto-core).")
}

// With returns a set that has the fonts of these files as well, before those
// of the machine. A file that is no font is an error.
func (s *Set) With(paths ...string) (*Set, error) {
	more := &Set{base: s.base, hash: s.hash, families: map[string][]*face{}, buf: harfbuzz.NewBuffer()}
	for _, path := range paths {
		if _, err := readFile(path); err != nil {
			return nil, err
		}
	}
	more.add(paths)
	return more.over(s), nil
}

// over adds what another set has, behind its own.
func (s *Set) over(below *Set) *Set {
	s.own = len(s.faces)
	below.mu.Lock()
	defer below.mu.Unlock()
	if below.colour != nil {
		s.colour = below.colour.anew()
	}
	for _, f := range below.faces {
		s.keep(f.anew())
	}
	return s
}

// anew is a face that has read nothing yet: what one has is guarded by its set.
func (f *face) anew() *face {
	return &face{header: f.header, path: f.path, index: f.index, listed: f.listed}
}

func isFontFile(path string) bool {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".ttf", ".otf", ".ttc", ".otc":
		return true
	}
	return false
}

// add reads the files, and returns the first font of emoji in colour among
// them, or nil.
func (s *Set) add(paths []string) (colour *face) {
	var found []*face
	for _, path := range paths {
		headers, err := readFile(path)
		if err != nil {
			continue
		}
		for i, h := range headers {
			h.loader = nil // it holds the file, which is closed
			found = append(found, &face{header: h, path: path, index: i})
		}
	}
	slices.SortStableFunc(found, func(a, b *face) int {
		return cmp.Or(cmp.Compare(a.Family, b.Family), cmp.Compare(a.Weight, b.Weight), cmp.Compare(a.path, b.path))
	})
	for _, f := range found {
		if colour == nil && f.Bitmaps && strings.Contains(strings.ToLower(f.Family), "emoji") {
			colour = f
		}
		s.keep(f)
	}
	return colour
}

func (s *Set) keep(f *face) {
	if !f.Outlines {
		return
	}
	s.faces = append(s.faces, f)
	name := strings.ToLower(f.Family)
	s.families[name] = append(s.families[name], f)
	if typographic := strings.ToLower(f.Typographic); typographic != name {
		s.families[typographic] = append(s.families[typographic], f)
	}
}

// Base is the family that captions are set in where no other is asked for.
func (s *Set) Base() string { return s.base }

// Has reports whether there is a family of this name, in any case of letters.
func (s *Set) Has(family string) bool { return len(s.families[strings.ToLower(family)]) > 0 }

// Families lists the names of all families, sorted.
func (s *Set) Families() []string {
	names := map[string]bool{}
	for _, f := range s.faces {
		names[f.Typographic] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// Own lists the names of the families that it has before those of the set it
// was made from.
func (s *Set) Own() []string {
	names := map[string]bool{}
	for _, f := range s.faces[:s.own] {
		names[f.Typographic], names[f.Family] = true, true
	}
	return slices.Sorted(maps.Keys(names))
}

// Files returns the files of the faces that libass finds under these names,
// each once.
func (s *Set) Files(families []string) []string {
	var paths []string
	for _, name := range families {
		for _, f := range s.families[strings.ToLower(name)] {
			if strings.EqualFold(f.Family, name) && !slices.Contains(paths, f.path) {
				paths = append(paths, f.path)
			}
		}
	}
	return paths
}

// pick returns the face of a family that is nearest to what is wanted, or nil
// where there is no such family.
func (s *Set) pick(family string, want caption.Face) *face {
	var best *face
	distance := func(f *face) int {
		d := max(f.Weight-want.Weight, want.Weight-f.Weight) + 2000*max(f.Width-5, 5-f.Width)
		if f.Italic != want.Italic {
			d += 10_000
		}
		return d
	}
	for _, f := range s.families[strings.ToLower(family)] {
		if best == nil || distance(f) < distance(best) {
			best = f
		}
	}
	return best
}
