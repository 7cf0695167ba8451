package apigpu_test

import (
	"encoding/json"
	"math"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/api-gpu/api-gpu"
)

// Every nanodollar survives the way through JSON.
func TestDollars(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0", 1: "0.000000001", 4321000: "0.004321", 1e9: "1", 12345678901: "12.345678901", -5: "-0.000000005"} {
		if got, err := json.Marshal(apigpu.Nanodollars(n)); err != nil || string(got) != want {
			t.Errorf("%d nanodollars are %s, want %s; %v", n, got, want, err)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(-9e15, 9e15).Draw(t, "nanodollars")
		text, err := json.Marshal(apigpu.Nanodollars(n))
		if err != nil {
			t.Fatal(err)
		}
		back, err := strconv.ParseFloat(string(text), 64)
		if err != nil || int64(math.Round(back*1e9)) != n {
			t.Fatalf("%d became %s", n, text)
		}
	})
	for d, want := range map[apigpu.Dollars]string{0.00432: "$0.0043", 3.5: "$3.50", 0.0000416: "$0.000042", 0: "$0.0000"} {
		if got := d.String(); got != want {
			t.Errorf("printed %s, want %s", got, want)
		}
	}
}
