package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/api-gpu/api-gpu/internal/doctor"
	"github.com/api-gpu/api-gpu/test/need"
)

// Volumes are looked at that are written to, and each once.
func TestDoctorLooksAtOtherVolumes(t *testing.T) {
	t.Parallel()
	v := need.Volume(t, 1<<20, 100)
	other := func(path string) string { return filepath.Join(v.Dir, path) }
	if err := os.WriteFile(other("db"), make([]byte, 100<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, c := range map[string]struct {
		args []string
		want []doctor.Use
	}{
		"one volume":           {args(dir, "--provider=local", "--local-dir="+dir), nil},
		"a PostgreSQL":         {args(dir, "--database-url=postgres://u:p@h/d"), nil},
		"the database's":       {args(dir, "--database-url=sqlite:"+other("db")), []doctor.Use{doctor.ForDatabase}},
		"one that is not made": {args(dir, "--database-url=sqlite:"+other("not/there/db")), []doctor.Use{doctor.ForDatabase}},
		"the workers'":         {args(dir, "--provider=local", "--local-dir="+other("local")), []doctor.Use{doctor.ForWorkers}},
		"no local workers":     {args(dir, "--provider=static", "--local-dir="+other("local")), nil},
		"the results'":         {args(dir, "--storage-url=file:"+other("files")), []doctor.Use{doctor.ForDatabase}},
	} {
		p := &patient{cfg: &parse(t, c.args...).Config}
		all, err := p.askVolumes(t.Context())
		var uses []doctor.Use
		for _, found := range all {
			uses = append(uses, found.Use)
			if name == "the database's" && (found.Size != 100<<10 || found.Free > 1<<20-found.Size) {
				t.Errorf("%s: %+v", name, found)
			}
		}
		if err != nil || !slices.Equal(uses, c.want) {
			t.Errorf("%s: %q, %v, want %q", name, uses, err, c.want)
		}
	}
}
