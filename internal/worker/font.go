package worker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/caption"
	"github.com/api-gpu/api-gpu/internal/ffmpeg"
	"github.com/api-gpu/api-gpu/internal/typeset"
)

// font is a family whose files are really here.
type font struct {
	family string
	// height is (usWinAscent + usWinDescent) / unitsPerEm of its OS/2 table:
	// libass sizes by it; see typeset.Style.
	height float64
	files  []string
}

// fonts are the families that captions may use, best first. The heights were
// read from the OS/2 tables of the files that Debian ships.
var fonts = []struct {
	family string
	height float64
	files  []string // regular and bold
}{
	{"Noto Sans", 1.362, []string{"NotoSans-Regular.ttf", "NotoSans-Bold.ttf"}},
	{"DejaVu Sans", 1.164, []string{"DejaVuSans.ttf", "DejaVuSans-Bold.ttf"}},
	{"Liberation Sans", 1.117, []string{"LiberationSans-Regular.ttf", "LiberationSans-Bold.ttf"}},
	{"Arial", 1.117, []string{"Arial.ttf", "Arial Bold.ttf"}},
}

// maxFontFiles bounds the search for a font.
const maxFontFiles = 50_000

// systemFontDirs are where fonts are on Linux, macOS and the BSDs.
func systemFontDirs() []string {
	dirs := []string{"/usr/share/fonts", "/usr/local/share/fonts", "/System/Library/Fonts", "/Library/Fonts"}
	if home, err := os.UserHomeDir(); err == nil {
		dirs = append(dirs, filepath.Join(home, ".fonts"), filepath.Join(home, ".local/share/fonts"))
	}
	return dirs
}

// findFont returns the best family of which every file is in one of dirs.
func findFont(dirs []string) (font, error) {
	found := map[string]string{} // file name → path
	seen := 0
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if seen++; seen > maxFontFiles {
				return fs.SkipAll
			}
			if err == nil && !entry.IsDir() && found[entry.Name()] == "" {
				found[entry.Name()] = path
			}
			return nil // what cannot be read is not there
		})
		if err != nil {
			return font{}, fmt.Errorf("search fonts: %w", err)
		}
	}
	for _, f := range fonts {
		paths := make([]string, 0, len(f.files))
		for _, name := range f.files {
			if p := found[name]; p != "" {
				paths = append(paths, p)
			}
		}
		if len(paths) == len(f.files) {
			return font{f.family, f.height, paths}, nil
		}
	}
	return font{}, apigpu.E(apigpu.NoEncoder, nil, "No font for captions is installed.").
		WithHint("Install Noto Sans (Debian: fonts-noto-core).")
}

// install makes the font's files the ones that libass finds first: links in
// the job's own folder.
func (f font) install(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make fonts folder: %w", err)
	}
	for _, path := range f.files {
		err := os.Symlink(path, filepath.Join(dir, filepath.Base(path)))
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("link font: %w", err)
		}
	}
	return nil
}

// proveFont finds a font and draws with it: libass never fails for want of
// one, it draws with another, or nothing.
func (w *Worker) proveFont(ctx context.Context) (font, error) {
	dirs := w.cfg.FontDirs
	if dirs == nil {
		dirs = systemFontDirs()
	}
	f, err := findFont(dirs)
	if err != nil {
		return font{}, err
	}
	dir := filepath.Join(w.cfg.WorkDir, proofDir)
	defer os.RemoveAll(dir)
	if err := f.install(filepath.Join(dir, ffmpeg.FontsFolder)); err != nil {
		return font{}, err
	}
	style := typeset.DefaultStyle()
	style.Font, style.FontHeight = f.family, f.height
	script := typeset.Render([]caption.Cue{{End: time.Second, Text: "Ágçß"}}, style, typeset.Size{Width: 320, Height: 180})
	if err := os.WriteFile(filepath.Join(dir, ffmpeg.ScriptFile), script, 0o600); err != nil {
		return font{}, fmt.Errorf("write script: %w", err)
	}
	took, err := w.cfg.Tools.ProveFont(ctx, dir)
	if err != nil {
		return font{}, err
	}
	if want := strings.ReplaceAll(f.family, " ", ""); took != "unknown" && !strings.HasPrefix(took, want) {
		return font{}, apigpu.E(apigpu.NoEncoder, nil, "Captions would be drawn with %s instead of %s.", took, f.family)
	}
	return f, nil
}
