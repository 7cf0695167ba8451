package worker

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/caption"
	"github.com/api-gpu/api-gpu/internal/ffmpeg"
	"github.com/api-gpu/api-gpu/internal/font"
	"github.com/api-gpu/api-gpu/internal/render"
	"github.com/api-gpu/api-gpu/internal/typeset"
)

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
	if err := render.InstallFonts(dir, fonts.Files(sheet.Families)); err != nil {
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
