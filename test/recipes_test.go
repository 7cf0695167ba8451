package test

import (
	"encoding/json"
	"path"
	"slices"
	"strings"
	"testing"
)

// n8nNodes are the nodes that recipes may use, in versions that n8n 1.x and
// 2.x both have (n8n-nodes-base 2.41.2, dist/types/nodes.json).
var n8nNodes = map[string]float64{
	"n8n-nodes-base.manualTrigger": 1, "n8n-nodes-base.set": 3.4, "n8n-nodes-base.httpRequest": 4.2, "n8n-nodes-base.wait": 1.1,
	"n8n-nodes-base.if": 2.2, "n8n-nodes-base.stopAndError": 1,
}

// TestRecipesCanBeImported holds the exports for n8n against what its import
// asks for, and what must not be given away. That they work is shown in
// test/e2e.
func TestRecipesCanBeImported(t *testing.T) {
	t.Parallel()
	seen := 0
	walk(t, func(name string) {
		if path.Dir(name) != "docs/recipes" || path.Ext(name) != ".json" {
			return
		}
		seen++
		var w struct {
			Name  string
			Nodes []struct {
				ID, Name, Type string
				TypeVersion    float64
				Position       []int
				WebhookID      string `json:"webhookId"`
				Credentials    any
			}
			Connections map[string]struct {
				Main [][]struct{ Node, Type string }
			}
			Active bool
		}
		text := read(t, name)
		if err := json.Unmarshal([]byte(text), &w); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var ids, names []string
		for _, n := range w.Nodes {
			if version, known := n8nNodes[n.Type]; !known || version != n.TypeVersion {
				t.Errorf("%s: node %s is a %s of version %g", name, n.Name, n.Type, n.TypeVersion)
			}
			if n.Credentials != nil || len(n.Position) != 2 || slices.Contains(ids, n.ID) || slices.Contains(names, n.Name) ||
				strings.HasSuffix(n.Type, ".wait") != (n.WebhookID != "") {
				t.Errorf("%s: node %s: %+v", name, n.Name, n)
			}
			ids, names = append(ids, n.ID), append(names, n.Name)
		}
		for from, c := range w.Connections {
			for _, output := range c.Main {
				for _, to := range output {
					if !slices.Contains(names, from) || !slices.Contains(names, to.Node) || to.Type != "main" {
						t.Errorf("%s: %s leads to %+v", name, from, to)
					}
				}
			}
		}
		if w.Name == "" || w.Active || strings.Contains(strings.ToLower(text), "x-api-key") {
			t.Errorf("%s has no name, is active, or holds a key", name)
		}
		if !strings.Contains(read(t, strings.TrimSuffix(name, ".json")+".md"), "("+path.Base(name)+")") {
			t.Errorf("%s is not explained by a page beside it", name)
		}
	})
	if seen < 2 {
		t.Errorf("found %d recipes", seen)
	}
}
