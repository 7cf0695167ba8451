package main

import (
	"slices"
	"testing"
)

// A path is the same to all that ask for it, in each way in which people write
// it.
func TestPlaces(t *testing.T) {
	cleanEnv(t)
	for name, c := range map[string]struct {
		args []string
		want []place
	}{
		"default": {nil, []place{
			{"DATABASE_URL", "sqlite:data/api-gpu.db", "data/api-gpu.db", "data"}, {"STORAGE_URL", "file:data/files", "data/files", "data/files"}}},
		"as other addresses": {[]string{"--database-url=sqlite://x/y.db", "--storage-url=file://x/files"}, []place{
			{"DATABASE_URL", "sqlite://x/y.db", "x/y.db", "x"}, {"STORAGE_URL", "file://x/files", "x/files", "x/files"}}},
		"absolute": {[]string{"--database-url=sqlite:///x/y.db", "--storage-url=file:///x/files"}, []place{
			{"DATABASE_URL", "sqlite:///x/y.db", "/x/y.db", "/x"}, {"STORAGE_URL", "file:///x/files", "/x/files", "/x/files"}}},
		"PostgreSQL": {[]string{"--database-url=postgres://u:p@h/d", "--storage-url=file:/x"}, []place{{"STORAGE_URL", "file:/x", "/x", "/x"}}},
		"nowhere":    {[]string{"--database-url=mysql:x", "--storage-url=file://"}, nil},
	} {
		if got := parse(t, c.args...).places(); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
