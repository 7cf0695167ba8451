package vast

import "strings"

// models are the names under which Vast.ai lists GPUs, by the generation of
// their encoder as NVIDIA counts it (NVENC support matrix, and the NVENC
// application note of the Video Codec SDK); 0 holds those that have none. The
// names are those of the API's own client (vast-cli, vastai/data/query.py).
var models = map[int]string{
	// GA100, GH100 and the data center's Blackwells decode and do not encode.
	0: "A30, A100 PCIE, A100 SXM4, A100X, A800 PCIE, H100 PCIE, H100 SXM, H100 NVL, H200, H200 NVL, GH200 SXM, B200",
	1: "Tesla K80",
	// Pascal and Volta. The GTX 1650 is a Turing with Volta's encoder.
	6: "GTX 1050, GTX 1050 Ti, GTX 1060, GTX 1070, GTX 1070 Ti, GTX 1080, GTX 1080 Ti, GTX 1650, Titan X, Titan Xp, " +
		"Titan V, Tesla P4, Tesla P40, Tesla P100, Tesla V100",
	// Turing and Ampere.
	7: "GTX 1650 S, GTX 1660, GTX 1660 S, GTX 1660 Ti, RTX 2060, RTX 2060S, RTX 2070, RTX 2070S, RTX 2080, RTX 2080S, " +
		"RTX 2080 Ti, Titan RTX, Tesla T4, Q RTX 4000, Q RTX 5000, Q RTX 6000, Q RTX 8000, " +
		"RTX 3050, RTX 3060, RTX 3060 laptop, RTX 3060 Ti, RTX 3070, RTX 3070 laptop, RTX 3070 Ti, RTX 3080, " +
		"RTX 3080 Ti, RTX 3090, RTX 3090 Ti, RTX A2000, RTX A4000, RTX A4500, RTX A5000, RTX A6000, A10, A16, A40",
	8: "RTX 4060, RTX 4060 Ti, RTX 4070, RTX 4070S, RTX 4070S Ti, RTX 4070 Ti, RTX 4080, RTX 4080S, RTX 4090, RTX 4090D, " +
		"RTX 2000Ada, RTX 4000Ada, RTX 4500Ada, RTX 5000Ada, RTX 5880Ada, RTX 6000Ada, L4, L40, L40S",
	9: "RTX 5060, RTX 5060 Ti, RTX 5070, RTX 5070 Ti, RTX 5080, RTX 5090, RTX PRO 4000, RTX PRO 4500, RTX PRO 5000, " +
		"RTX PRO 6000, RTX PRO 6000 S, RTX PRO 6000 WS, RTX PRO 6000 Max-Q",
}

// model is a GPU by its listed name.
type model struct {
	name  string
	nvenc int
}

// table holds the models by their folded name.
var table = func() map[string]model {
	all := map[string]model{}
	for nvenc, names := range models {
		for name := range strings.SplitSeq(names, ", ") {
			all[fold(name)] = model{name, nvenc}
		}
	}
	return all
}()

// fold makes names alike that mean the same card: "rtx_3060", "RTX 3060" and
// "RTX3060". The client of the API writes underscores, its answers spaces.
func fold(name string) string {
	return strings.NewReplacer(" ", "", "_", "", "-", "").Replace(strings.ToLower(name))
}

// canonical is the listed name of what a user calls it, or the user's own
// where it is not in the table.
func canonical(name string) string {
	if m, ok := table[fold(name)]; ok {
		return m.name
	}
	return strings.Join(strings.Fields(strings.ReplaceAll(name, "_", " ")), " ")
}

// unknown is the generation of a card that nothing is known of.
const unknown = -1

// byCapability is the generation of the encoder by CUDA's compute capability,
// times 100 as the API gives it, for cards that are newer than the table.
// 8.0, 9.0, 10.0 and 10.3 are the chips without an encoder.
var byCapability = map[int]int{
	500: 4, 520: 5, 600: 6, 610: 6, 620: 6, 700: 6, 750: 7, 800: 0, 860: 7, 890: 8, 900: 0, 1000: 0, 1030: 0, 1200: 9,
}

// noEncoder are the beginnings of names of cards without NVENC, folded: mining
// cards, whose encoder is switched off, and those of other makers, whose
// compute capability means something else.
var noEncoder = []string{"cmp", "rx", "radeon", "instinct", "mi", "arc", "gaudi"}

// nvenc is the generation of a card's encoder: 0 when it has none, unknown
// when nothing tells.
func nvenc(name string, capability float64) int {
	folded := fold(name)
	if m, ok := table[folded]; ok {
		return m.nvenc
	}
	for _, begin := range noEncoder {
		if strings.HasPrefix(folded, begin) {
			return 0
		}
	}
	if generation, ok := byCapability[int(capability)]; ok && folded != "" {
		return generation
	}
	return unknown
}
