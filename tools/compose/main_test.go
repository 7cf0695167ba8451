// Package compose checks compose.yaml as docker compose would read it.
package compose

import (
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// load reads the file as docker compose does, with these settings.
func load(t *testing.T, env ...string) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{"../../compose.yaml"}, cli.WithEnv(env), cli.WithName("api-gpu"))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return project
}

// The two find each other, and nobody else finds the worker.
func TestCompose(t *testing.T) {
	project := load(t)
	orchestrator, worker := project.Services["orchestrator"], project.Services["worker"]
	if len(project.Services) != 2 || orchestrator.Image == "" || worker.Image == "" {
		t.Fatalf("services %q", project.ServiceNames())
	}
	value := func(s types.ServiceConfig, name string) string {
		if v := s.Environment[name]; v != nil {
			return *v
		}
		return ""
	}
	if len(worker.Ports) > 0 {
		t.Errorf("the worker is published: %v", worker.Ports)
	}
	if p := orchestrator.Ports; len(p) != 1 || p[0].HostIP != "127.0.0.1" || p[0].Target != 3000 {
		t.Errorf("the orchestrator is published as %v", p)
	}
	if got := value(orchestrator, "WORKER_URL"); got != "http://worker:"+value(worker, "PORT") {
		t.Errorf("the worker is looked for at %s", got)
	}
	if value(orchestrator, "WORKER_TOKEN") != value(worker, "SESSION_TOKEN") || value(orchestrator, "WORKER_KEY") != value(worker, "X_API_KEY") {
		t.Error("the orchestrator does not know the worker's token and key")
	}
	state := slices.IndexFunc(orchestrator.Volumes, func(v types.ServiceVolumeConfig) bool {
		return v.Target == "/app/data" && v.Type == types.VolumeTypeVolume
	})
	if state < 0 {
		t.Error("the state is on no volume")
	}
	for name, s := range map[string]types.ServiceConfig{"orchestrator": orchestrator, "worker": worker} {
		if s.Build == nil || !strings.HasSuffix(s.Build.Dockerfile, "docker/"+name+".Dockerfile") {
			t.Errorf("%s is built from %+v", name, s.Build)
		}
		if s.User != "" || s.Privileged || !slices.Equal(s.CapDrop, []string{"ALL"}) {
			t.Errorf("%s runs as %q, with capabilities but %q", name, s.User, s.CapDrop)
		}
	}
}

// What is set in .env or the environment holds.
func TestComposeSettings(t *testing.T) {
	project := load(t, "X_API_KEY=chosen", "PORT=8080", "API_GPU_VERSION=v0.1.0")
	o := project.Services["orchestrator"]
	if v := o.Environment["X_API_KEY"]; v == nil || *v != "chosen" {
		t.Errorf("X_API_KEY is %v", v)
	}
	if o.Ports[0].Published != "8080" || o.Ports[0].Target != 3000 {
		t.Errorf("published as %v", o.Ports)
	}
	if !strings.HasSuffix(o.Image, ":v0.1.0") || !strings.HasSuffix(project.Services["worker"].Image, ":v0.1.0") {
		t.Errorf("images %s, %s", o.Image, project.Services["worker"].Image)
	}
}
