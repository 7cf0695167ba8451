package gpu

import "testing"

func TestParseUSD(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]USD{
		"1": 1e9, "1.0": 1e9, "0.1": 1e8, ".5": 5e8, "5.": 5e9, "0": 0, "$2.50": 2_500_000_000, " 0.006 ": 6_000_000,
		"0.123456789": 123456789, "9223372036.854775807": 9223372036854775807,
	} {
		if got, err := ParseUSD(text); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", ".", "-1", "+1", "1e3", "1,5", "0.1234567891", "9223372036.854775808", "NaN", "1.2.3", "1.-2", "0x1", "1_000", "five"} {
		if got, err := ParseUSD(text); err == nil {
			t.Errorf("%q is %d", text, got)
		}
	}
}
