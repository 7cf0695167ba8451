package worker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/caption"
	"github.com/api-gpu/api-gpu/internal/ffmpeg"
	"github.com/api-gpu/api-gpu/internal/font"
	"github.com/api-gpu/api-gpu/internal/typeset"
)

// installFonts makes font files the ones that libass finds first: links in the
// job's own folder. Two files of one name are both there.
func installFonts(dir string, files []string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make fonts folder: %w", err)
	}
	for i, path := range files {
		name := strconv.Itoa(i) + "-" + filepath.Base(path)
		if err := os.Symlink(path, filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("link font: %w", err)
		}
	}
	return nil
}

// proveFont finds the fonts and draws with the best of them: libass never
// fails for want of one, it draws with another, or nothing.
func (w *Worker) proveFont(ctx context.Context) (*font.Set, error) {
	dirs := w.cfg.FontDirs
	if dirs == nil {
		dirs = font.SystemDirs()
	}
	fonts, err := font.Find(dirs)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(w.cfg.WorkDir, proofDir)
	defer os.RemoveAll(dir)
	sheet, err := typeset.Set(typeset.Job{
		Cues: []caption.Cue{{End: time.Second, Text: "Ágçß"}}, Size: typeset.Size{Width: 320, Height: 180}, Fonts: fonts,
	})
	if err != nil {
		return nil, err
	}
	if err := installFonts(filepath.Join(dir, ffmpeg.FontsFolder), fonts.Files(sheet.Families)); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, ffmpeg.ScriptFile), sheet.ASS, 0o600); err != nil {
		return nil, fmt.Errorf("write script: %w", err)
	}
	took, err := w.cfg.Tools.ProveFont(ctx, dir)
	if err != nil {
		return nil, err
	}
	if want := strings.ReplaceAll(fonts.Base(), " ", ""); took != "unknown" && !strings.HasPrefix(took, want) {
		return nil, apigpu.E(apigpu.NoEncoder, nil, "Captions would be drawn with %s instead of %s.", took, fonts.Base())
	}
	return fonts, nil
}

// fontReplaced warns where the family that was asked for is not here.
func fontReplaced(style apigpu.Style, fonts *font.Set) []apigpu.Warning {
	family := style.Font.Family
	if family == "" || fonts.Has(family) {
		return nil
	}
	return []apigpu.Warning{{
		Code:    "font_replaced",
		Message: fmt.Sprintf("The font %q is not installed; %s was taken.", family, fonts.Base()),
	}}
}
