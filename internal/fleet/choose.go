package fleet

import (
	"cmp"
	"slices"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

// Choice is an offer, and why it stands where it stands.
type Choice struct {
	gpu.Offer
	// Cost is what the job is expected to cost there.
	Cost gpu.USD
	Why  string
}

// choose ranks offers, the best first.
func choose(offers []gpu.Offer) []Choice {
	ranked := make([]Choice, len(offers))
	for i, o := range offers {
		ranked[i] = Choice{Offer: o}
	}
	slices.SortStableFunc(ranked, func(a, b Choice) int { return cmp.Compare(a.HourlyUSD, b.HourlyUSD) })
	return ranked
}
