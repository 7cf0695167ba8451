package program

import "testing"

func TestBytes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Bytes{
		"0": 0, "1000000": 1e6, " 512MiB ": 512 << 20, "2GiB": 2 << 30, "2 GiB": 2 << 30, "1.5KiB": 1536, "1TB": 1e12, "7kB": 7000, "3B": 3,
	} {
		var b Bytes
		if err := b.UnmarshalText([]byte(text)); err != nil || b != want {
			t.Errorf("%q is %d, %v", text, b, err)
		}
	}
	for _, text := range []string{"", "GiB", "-1", "1 apple", "NaN", "NaNGiB", "Inf", "1e300", "9999999TiB", "2gib", "1,5GiB"} {
		var b Bytes
		if err := b.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was taken for %d", text, b)
		}
	}
}

func FuzzBytes(f *testing.F) {
	for _, s := range []string{"2GiB", "NaN", "-1B", "1e9kB", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var b Bytes
		if err := b.UnmarshalText([]byte(s)); err == nil && b < 0 {
			t.Errorf("%q is %d", s, b)
		}
	})
}
