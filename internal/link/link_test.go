package link

import (
	"bytes"
	"testing"
)

func TestDerive(t *testing.T) {
	t.Parallel()
	root := []byte("a root secret of tests")
	a, err := Derive(root, "ag1.fleet.one")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := Derive(root, "ag1.fleet.one"); err != nil || again != a {
		t.Errorf("the same label gave %v (%v), then %v", a, err, again)
	}
	// RFC 5869 with SHA-256, no salt and 32 bytes, computed apart from this
	// package: a change would cut adopted workers off.
	const token = "ee717955e658ec6a9879dbcdf50618a43b0491f257718f8e47e20ae9f8eb8377"
	if a.Token != token {
		t.Errorf("token %s, want %s", a.Token, token)
	}
	others := map[string]bool{a.Token: true}
	for _, c := range []struct{ root, label string }{
		{"a root secret of tests", "ag1.fleet.two"}, {"another root", "ag1.fleet.one"},
	} {
		b, err := Derive([]byte(c.root), c.label)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{b.Token, b.Key} {
			if others[secret] {
				t.Errorf("%v shares a secret with another", c)
			}
			others[secret] = true
		}
	}
	if others[a.Key] {
		t.Error("key and token are the same")
	}
}

func TestSubkey(t *testing.T) {
	t.Parallel()
	a, errA := Subkey([]byte("root"), "one")
	b, errB := Subkey([]byte("root"), "two")
	if errA != nil || errB != nil || len(a) != 32 || bytes.Equal(a, b) {
		t.Errorf("got %x (%v) and %x (%v), want two different keys of 32 bytes", a, errA, b, errB)
	}
}
