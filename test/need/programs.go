package need

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Programs builds programs of ours into a folder, by the names of their folders
// in cmd, and with build tags where tags is not empty.
//
// go run links them, and cp takes the place of what it would run: unlike go
// build, it keeps in Go's cache what it has linked. All packages that want a
// program link it once, and again only after a change.
func Programs(ctx context.Context, dir, tags string, names ...string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, name := range names {
		path, to := "github.com/api-gpu/api-gpu/cmd/"+name, filepath.Join(dir, name)
		build := exec.CommandContext(ctx, "go", "run", "-buildvcs=false", "-tags", tags, "-exec", "cp", path, to)
		if _, err := exec.LookPath("cp"); err != nil {
			build = exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-tags", tags, "-o", to, path)
		}
		build.Env = append(os.Environ(), "CGO_ENABLED=0") // as make build: shares its cache
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
	}
	return nil
}
