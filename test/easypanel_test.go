package test

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// panelService is a service in a schema of Easypanel: the fields that we use of
// its own, as its templates have them (easypanel-io/templates, utils/schema.ts).
// The name of the project is the panel's to add.
type panelService struct {
	Type string `json:"type"`
	Data struct {
		ServiceName string `json:"serviceName"`
		Source      struct {
			Type  string `json:"type"`
			Image string `json:"image"`
		} `json:"source"`
		Env    string `json:"env"`
		Deploy struct {
			Replicas     int   `json:"replicas"`
			ZeroDowntime *bool `json:"zeroDowntime"` // true where it is not said
		} `json:"deploy"`
		Domains []struct {
			Host  string `json:"host"`
			HTTPS bool   `json:"https"`
			Port  int    `json:"port"` // 80 where it is not said
			Path  string `json:"path"`
		} `json:"domains"`
		Mounts []struct {
			Type      string `json:"type"`
			Name      string `json:"name"`
			MountPath string `json:"mountPath"`
		} `json:"mounts"`
	} `json:"data"`
}

// TestEasypanelSchema holds what is pasted into the panel against the panel's
// rules, and against our own: the port, the volume at the folder of the state,
// one container at a time, settings that exist, and no secret.
func TestEasypanelSchema(t *testing.T) {
	t.Parallel()
	var schema struct {
		Services []panelService `json:"services"`
	}
	d := json.NewDecoder(strings.NewReader(read(t, "docs/easypanel.json")))
	d.DisallowUnknownFields()
	if err := d.Decode(&schema); err != nil || len(schema.Services) != 1 {
		t.Fatalf("%d services, %v", len(schema.Services), err)
	}
	s := schema.Services[0]
	name := regexp.MustCompile(`^[a-z0-9-_]+$`)
	if s.Type != "app" || !name.MatchString(s.Data.ServiceName) {
		t.Errorf("service %q of type %q", s.Data.ServiceName, s.Type)
	}
	if s.Data.Deploy.Replicas != 1 || s.Data.Deploy.ZeroDowntime == nil || *s.Data.Deploy.ZeroDowntime {
		t.Errorf("deploy: %+v; two containers would share one SQLite", s.Data.Deploy)
	}
	if len(s.Data.Domains) != 1 || s.Data.Domains[0].Port != 3000 || !s.Data.Domains[0].HTTPS || s.Data.Domains[0].Path != "/" ||
		!regexp.MustCompile(`^[^\s*]+$`).MatchString(s.Data.Domains[0].Host) {
		t.Errorf("domains: %+v", s.Data.Domains)
	}
	if len(s.Data.Mounts) != 1 || s.Data.Mounts[0].Type != "volume" || !name.MatchString(s.Data.Mounts[0].Name) || s.Data.Mounts[0].MountPath != "/app/data" {
		t.Errorf("mounts: %+v", s.Data.Mounts)
	}
	// A full version: what latest is changes under a running server.
	if s.Data.Source.Type != "image" || !regexp.MustCompile(`^ghcr\.io/api-gpu/api-gpu-orchestrator:v\d+\.\d+\.\d+$`).MatchString(s.Data.Source.Image) {
		t.Errorf("source: %+v", s.Data.Source)
	}
	panelSettings(t, s.Data.Env)
}

// panelSettings checks the environment that the panel hands over.
func panelSettings(t *testing.T, env string) {
	t.Helper()
	table := orchestrator(t, "config")
	var names []string
	for line := range strings.SplitSeq(env, "\n") {
		name, value, ok := strings.Cut(line, "=")
		names = append(names, name)
		if !ok || !strings.Contains(table, "`"+name+"`") {
			t.Errorf("the orchestrator has no setting %q", line)
		}
		if regexp.MustCompile(`KEY|SECRET|TOKEN|LOGIN`).MatchString(name) && value != "" {
			t.Errorf("%s holds a value: everybody would have the same", name)
		}
	}
	for _, want := range []string{"PORT", "HOST", "PUBLIC_URL", "X_API_KEY", "VAST_API_KEY", "BUDGET_DAY_USD"} {
		if !slices.Contains(names, want) {
			t.Errorf("the environment lacks %s", want)
		}
	}
	// What the page shows for the second way is the same, but for the image of a
	// worker of one's own.
	guide := read(t, "docs/DEPLOY_EASYPANEL.md")
	_, shown, _ := strings.Cut(guide, "```ini\n")
	shown, _, _ = strings.Cut(shown, "```")
	var typed []string
	for line := range strings.SplitSeq(strings.TrimSpace(shown), "\n") {
		if !strings.HasPrefix(line, "VAST_WORKER_IMAGE=") {
			typed = append(typed, line)
		}
	}
	if strings.Join(typed, "\n") != env {
		t.Errorf("docs/DEPLOY_EASYPANEL.md shows %q, the schema has %q", typed, env)
	}
}
