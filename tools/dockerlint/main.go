// Command dockerlint runs BuildKit's own checks over Dockerfiles, as
// docker build --check does, and needs no engine for it.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/subrequests/lint"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

func main() {
	found, err := check(context.Background(), os.Stdout, os.Args[1:])
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "dockerlint:", err)
		os.Exit(2)
	case found > 0:
		os.Exit(1)
	}
}

var platform = ocispecs.Platform{OS: "linux", Architecture: "amd64"}

// offline knows every image, and of each the platform only: no registry is
// asked.
type offline struct{}

// ResolveImageConfig implements llb.ImageMetaResolver.
func (offline) ResolveImageConfig(_ context.Context, ref string, _ sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	config, err := json.Marshal(ocispecs.Image{Platform: platform})
	return ref, "", config, err
}

// check prints what BuildKit has to say about each file, and returns how many
// warnings that were. An error is a file that it cannot read or parse.
func check(ctx context.Context, out io.Writer, files []string) (found int, err error) {
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return found, err
		}
		source := llb.NewSourceMap(nil, file, "Dockerfile", text)
		source.Definition = &llb.Definition{} // of the build that reads it: there is none
		result, err := dockerfile2llb.DockerfileLint(ctx, text, dockerfile2llb.ConvertOpt{
			MetaResolver: offline{}, SourceMap: source, TargetPlatform: &platform,
		})
		if err != nil {
			return found, fmt.Errorf("%s: %w", file, err)
		}
		found += report(out, file, result)
	}
	return found, nil
}

func report(out io.Writer, file string, result *lint.LintResults) int {
	if result.Error != nil {
		fmt.Fprintf(out, "%s: %s\n", file, result.Error.Message)
		return len(result.Warnings) + 1
	}
	for _, w := range result.Warnings {
		line := int32(0)
		if w.Location != nil && len(w.Location.Ranges) > 0 {
			line = w.Location.Ranges[0].Start.Line
		}
		fmt.Fprintf(out, "%s:%d: %s: %s\n", file, line, w.RuleName, w.Detail)
	}
	return len(result.Warnings)
}
