package vast

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

// offerWith is the documentation's offer with other members; nil takes one out.
func offerWith(t testing.TB, change map[string]any) string {
	t.Helper()
	row := map[string]any{}
	if err := json.Unmarshal([]byte(anOffer), &row); err != nil {
		t.Fatal(err)
	}
	for name, value := range change {
		row[name] = value
	}
	out, err := json.Marshal(row)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func offersBody(rows ...string) step {
	return step{status: 200, body: `{"offers":[` + strings.Join(rows, ",") + `]}`}
}

func TestOffer(t *testing.T) {
	t.Parallel()
	api := script(t, offersBody(anOffer))
	got, err := open(t, api.URL, func(c *Config) { c.Slots = 3 }).Offers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []gpu.Offer{{
		ID: "21034567", HourlyUSD: 53_100_000, GPUHourlyUSD: 48_900_000, DiskHourlyUSD: 4_200_000,
		DownUSD: 2_600_000, UpUSD: 3_900_000, DownMbps: 812.3, UpMbps: 540.9, GPU: "RTX 3060", NVENC: 7, VRAM: 12288, Slots: 3,
		HostID: "55555", MachineID: "18231", Country: "BG", Reliability: 0.9931, Lasts: 2412345 * time.Second,
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("offers (-want +got):\n%s", diff)
	}
}

// Every condition is checked on what comes back, and a member that is null
// meets none that is about money or quality.
func TestOffersAreCheckedAgain(t *testing.T) {
	t.Parallel()
	type row map[string]any
	all := func(c *Config) {
		c.Datacenter, c.Countries, c.Models = true, []string{"bg", "DE"}, []string{"rtx_3060", "RTX 9090"}
	}
	good := row{"hosting_type": 1}
	for name, c := range map[string]struct {
		change func(*Config)
		row    row
		want   bool
	}{
		"as it is":             {nil, nil, true},
		"whole machine":        {nil, row{"num_gpus": 8}, false},
		"GPUs null":            {nil, row{"num_gpus": nil}, false},
		"too dear":             {nil, row{"dph_total": 1.01}, false},
		"parts too dear":       {nil, row{"dph_base": 0.999, "dph_total": 0.999}, false},
		"price null":           {nil, row{"dph_total": nil, "dph_base": nil}, false},
		"price of parts":       {nil, row{"dph_total": nil}, true},
		"free":                 {nil, row{"dph_total": 0, "dph_base": 0, "storage_cost": 0}, false},
		"negative":             {nil, row{"dph_total": -1, "dph_base": -1}, false},
		"traffic null":         {nil, row{"inet_down_cost": nil}, false},
		"traffic by the TB":    {nil, row{"inet_down_cost": nil, "internet_down_cost_per_tb": 2.6}, true},
		"not verified":         {nil, row{"verification": "unverified", "verified": true}, false},
		"deverified":           {nil, row{"verification": "deverified", "vericode": 1}, false},
		"verified by number":   {nil, row{"verification": nil, "vericode": 1}, true},
		"by another number":    {nil, row{"verification": nil, "vericode": 0, "verified": true}, false},
		"verified by its flag": {nil, row{"verification": nil, "vericode": nil, "verified": true}, true},
		"nothing says so":      {nil, row{"verification": nil, "vericode": nil, "verified": nil}, false},
		"not asked to be":      {func(c *Config) { c.Verified = false }, row{"verification": "unverified"}, true},
		"unreliable":           {nil, row{"reliability2": 0.94}, false},
		"reliability null":     {nil, row{"reliability2": nil}, false},
		"reliability, older":   {nil, row{"reliability2": nil, "reliability": 0.96}, true},
		"reliability of 5":     {nil, row{"reliability2": 5}, false},
		"no port":              {nil, row{"direct_port_count": 0}, false},
		"ports null":           {nil, row{"direct_port_count": nil}, false},
		"small memory":         {nil, row{"gpu_ram": 3000}, false},
		"memory null":          {nil, row{"gpu_ram": nil}, false},
		"24 GB of an A10":      {func(c *Config) { c.MinVRAM = 24 }, row{"gpu_name": "A10", "gpu_ram": 23028}, true},
		"22 GB are not 24":     {func(c *Config) { c.MinVRAM = 24 }, row{"gpu_ram": 22000}, false},
		"small disk":           {nil, row{"disk_space": 19}, false},
		"about to end":         {nil, row{"duration": 3600}, false},
		"rented":               {nil, row{"rented": true}, false},
		"rented null":          {nil, row{"rented": nil}, true},
		"not rentable":         {nil, row{"rentable": false}, false},
		"not rentable, number": {nil, row{"rentable": 0}, false},
		"external":             {nil, row{"external": true}, false},
		"price of a bid":       {nil, row{"is_bid": true}, false},
		"kind null":            {nil, row{"is_bid": nil}, true},
		"ARM":                  {nil, row{"cpu_arch": "arm64"}, false},
		"no NVENC":             {nil, row{"gpu_name": "A100 SXM4", "compute_cap": 800}, false},
		"no NVENC, new name":   {nil, row{"gpu_name": "B300 SXM", "compute_cap": 1030}, false},
		"other maker":          {nil, row{"gpu_name": "RX 7900 XTX", "compute_cap": 1200}, false},
		"unknown card":         {nil, row{"gpu_name": "RTX 9090", "compute_cap": 1500}, false},
		"new card":             {nil, row{"gpu_name": "RTX 5050", "compute_cap": 1200}, true},
		"no name":              {nil, row{"gpu_name": nil}, false},
		"no id":                {nil, row{"id": nil, "ask_contract_id": nil}, false},
		"the other id":         {nil, row{"id": nil}, true},
		"all of it":            {all, good, true},
		"named, unknown":       {all, row{"hosting_type": 1, "gpu_name": "RTX 9090", "compute_cap": nil}, true},
		"another model":        {all, row{"hosting_type": 1, "gpu_name": "RTX 3060 Ti"}, false},
		"at home":              {all, row{"hosting_type": 0}, false},
		"hosting null":         {all, row{"hosting_type": nil}, false},
		"another country":      {all, row{"hosting_type": 1, "geolocation": "Paris, FR"}, false},
		"bare country":         {all, row{"hosting_type": 1, "geolocation": ", DE"}, true},
		"country null":         {all, row{"hosting_type": 1, "geolocation": nil}, false},
		"a word is no country": {all, row{"hosting_type": 1, "geolocation": "Bude"}, false},
	} {
		if c.change == nil {
			c.change = func(*Config) {}
		}
		got, err := open(t, script(t, offersBody(offerWith(t, c.row))).URL, c.change).Offers(t.Context())
		if err != nil || (len(got) == 1) != c.want {
			t.Errorf("%s: %+v, %v; want it taken %t", name, got, err, c.want)
		}
		for _, o := range got {
			if o.GPUHourlyUSD+o.DiskHourlyUSD != o.HourlyUSD || o.GPUHourlyUSD < 0 || o.DiskHourlyUSD < 0 {
				t.Errorf("%s: the parts of %+v are not the whole", name, o)
			}
		}
	}
}

func TestSearchRequest(t *testing.T) {
	t.Parallel()
	api := script(t, offersBody())
	p := open(t, api.URL, func(c *Config) {
		c.Models, c.Countries, c.Datacenter = []string{"rtx_3060", "rtx 6000 ada", "RTX_9090"}, []string{"de"}, true
	})
	if offers, err := p.Offers(t.Context()); err != nil || len(offers) != 0 {
		t.Errorf("Offers: %v, %v; want none", offers, err)
	}
	call := api.calls()[0]
	if call.method != "POST" || call.uri != "/api/v0/bundles/" {
		t.Errorf("asked %s %s", call.method, call.uri)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(call.body), &got); err != nil {
		t.Fatal(err)
	}
	type ops = map[string]any
	want := map[string]any{
		"external": ops{"eq": false}, "rentable": ops{"eq": true}, "rented": ops{"eq": false}, "num_gpus": ops{"eq": 1.0},
		"cpu_arch": ops{"eq": "amd64"}, "direct_port_count": ops{"gte": 1.0}, "gpu_ram": ops{"gte": 3720.0},
		"disk_space": ops{"gte": 20.0}, "duration": ops{"gte": 86400.0}, "dph_total": ops{"lte": 1.0},
		"reliability2": ops{"gte": 0.95}, "gpu_name": ops{"in": []any{"RTX 3060", "RTX 6000Ada", "RTX 9090"}},
		"verified": ops{"eq": true}, "datacenter": ops{"eq": true}, "geolocation": ops{"in": []any{"DE"}},
		"type": "on-demand", "allocated_storage": 20.0, "limit": 64.0, "order": []any{[]any{"dph_total", "asc"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("query (-want +got):\n%s", diff)
	}
}

func TestSearchAnswers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		step  step
		count int
		want  error // nil where an error of no kind is wanted and count is -1
	}{
		"none":           {offersBody(), 0, nil},
		"one object":     {step{status: 200, body: `{"offers":` + anOffer + `}`}, 1, nil},
		"poisoned rows":  {offersBody(`null`, `5`, `"x"`, `{}`, `{"id":{}}`, anOffer), 1, nil},
		"twice":          {offersBody(anOffer, anOffer), 1, nil},
		"no list":        {step{status: 200, body: `{}`}, -1, nil},
		"list is null":   {step{status: 200, body: `{"offers":null}`}, -1, nil},
		"not a success":  {step{status: 200, body: `{"success":false,"offers":[]}`}, -1, nil},
		"page":           {step{status: 200, kind: "text/html", body: html}, -1, nil},
		"bad gateway":    {step{status: 502, kind: "text/html", body: html}, -1, nil},
		"bad key":        {step{status: 404, body: `{"success":false,"error":"auth_error","msg":"Invalid user key"}`}, -1, gpu.ErrAuth},
		"bad query":      {step{status: 400, body: `{"success":false,"msg":"Invalid query: must be dict of conditions"}`}, -1, gpu.ErrRefused},
		"too often":      {step{status: 429, body: "API requests too frequent"}, -1, gpu.RateLimited{}},
		"not found":      {step{status: 404, body: `{"success":false,"error":"not_found"}`}, -1, gpu.ErrGone},
		"offers, no 200": {step{status: 500, body: `{"offers":[` + anOffer + `]}`}, -1, nil},
	} {
		got, err := open(t, script(t, c.step).URL).Offers(t.Context())
		if (err != nil) != (c.count < 0) || len(got) != max(c.count, 0) {
			t.Errorf("%s: %d offers, %v; want %d", name, len(got), err, c.count)
		}
		if c.want != nil && c.want != gpu.ErrGone && !is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// There are no pages: the next offers are those that cost as much as the last,
// or more, and what is there twice counts once.
func TestSearchGoesOnByPrice(t *testing.T) {
	t.Parallel()
	page := func(first int, name string) step {
		var rows []string
		for n := range searchSize {
			rows = append(rows, offerWith(t, map[string]any{"id": first + n, "dph_total": 0.1 + float64(first+n)/1000, "gpu_name": name}))
		}
		return offersBody(rows...)
	}
	// Nothing of the first page is of use; the second overlaps with it.
	api := script(t, page(1, "A100 PCIE"), page(64, "RTX 3060"))
	got, err := open(t, api.URL).Offers(t.Context())
	if err != nil || len(got) != searchSize-1 {
		t.Errorf("%d offers, %v; want %d", len(got), err, searchSize-1)
	}
	calls := api.calls()
	if len(calls) != 2 || !strings.Contains(calls[1].body, `"gte":0.164`) || strings.Contains(calls[0].body, `"dph_total":{"gte"`) {
		t.Errorf("%d searches: %+v", len(calls), calls)
	}
	// The same again and again: it ends.
	same := page(1, "A100 PCIE")
	api = script(t, same, same, same, same, same, same)
	if got, err := open(t, api.URL).Offers(t.Context()); err != nil || len(got) != 0 || len(api.calls()) != 2 {
		t.Errorf("%d offers in %d searches, %v", len(got), len(api.calls()), err)
	}
	// What was found is not thrown away when the next search fails.
	few := page(1, "A100 PCIE")
	few.body = strings.Replace(few.body, "A100 PCIE", "RTX 3060", 3)
	if got, err := open(t, script(t, few, step{status: 502}).URL).Offers(t.Context()); err != nil || len(got) != 3 {
		t.Errorf("%d offers, %v; want the three of the first search", len(got), err)
	}
}

func TestNVENC(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name       string
		capability float64
		want       int
	}{
		{"RTX 3060", 860, 7}, {"RTX_4090", 0, 8}, {"RTX 5090", 1200, 9}, {"RTX 6000Ada", 890, 8}, {"rtx 6000 ada", 0, 8},
		{"Tesla T4", 750, 7}, {"GTX 1650", 750, 6}, {"GTX 1650 S", 750, 7}, {"Tesla V100", 700, 6}, {"Tesla P100", 600, 6},
		{"A10", 860, 7}, {"A40", 860, 7}, {"L4", 890, 8}, {"L40S", 890, 8},
		{"A100 PCIE", 800, 0}, {"A100 SXM4", 800, 0}, {"A100X", 800, 0}, {"A30", 800, 0}, {"A800 PCIE", 800, 0},
		{"H100 SXM", 900, 0}, {"H100 NVL", 0, 0}, {"H200", 900, 0}, {"GH200 SXM", 900, 0}, {"B200", 1000, 0},
		{"H800", 900, 0}, {"H20", 900, 0}, {"B300", 1030, 0}, {"CMP 50HX", 750, 0}, {"InstinctMI300X", 940, 0}, {"RX 7900 XTX", 1100, 0},
		{"RTX 5050", 1200, 9}, {"RTX A1000", 860, 7}, {"Something", 0, unknown}, {"RTX 6090", 1500, unknown}, {"", 860, unknown},
	} {
		if got := nvenc(c.name, c.capability); got != c.want {
			t.Errorf("%q of capability %v: generation %d, want %d", c.name, c.capability, got, c.want)
		}
	}
}

// FuzzOffers: no answer to a search panics, or becomes an offer that could
// not be paid, counted or asked for.
func FuzzOffers(f *testing.F) {
	f.Add(`{"offers":[` + anOffer + `]}`)
	f.Add(`{"offers":[{"id":"5","dph_total":"1e-9","num_gpus":true}]}`)
	f.Add(strings.NewReplacer(`0.0531`, `1e308`, `0.15`, `-1e308`, `2412345.7`, `"1e300"`, `12288`, `"Infinity"`).Replace(`{"offers":[` + anOffer + `]}`))
	p := open(f, DefaultURL)
	f.Fuzz(func(t *testing.T, body string) {
		a := newAnswer(request{lane: p.lanes.search}, 200, nil, []byte(body))
		rows, err := a.list("offers")
		if err != nil {
			return
		}
		for _, raw := range rows {
			o, ok := p.offer(parseObject(raw))
			switch {
			case !ok:
			case !validID(o.ID), o.HourlyUSD <= 0, o.HourlyUSD > p.cfg.MaxPrice, o.GPUHourlyUSD+o.DiskHourlyUSD != o.HourlyUSD,
				o.GPUHourlyUSD < 0, o.DiskHourlyUSD < 0, o.DownUSD < 0, o.UpUSD < 0, o.Lasts < lasting, o.NVENC < 1, o.VRAM < 0,
				math.IsNaN(o.DownMbps + o.UpMbps + o.Reliability), o.Reliability > 1:
				t.Fatalf("%s is the offer %+v", raw, o)
			case o.Cost(gpu.Work{Paid: time.Hour}) != o.HourlyUSD:
				t.Fatalf("an hour of %+v costs %s", o, o.Cost(gpu.Work{Paid: time.Hour}))
			}
		}
	})
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*Config)
		want   string // in the error
	}{
		"as it is":          {func(*Config) {}, ""},
		"no address":        {func(c *Config) { c.URL = "" }, ""},
		"a tag":             {func(c *Config) { c.Image = "ghcr.io/me/worker:1" }, ""},
		"no key":            {func(c *Config) { c.Key = " " }, "VAST_API_KEY"},
		"key of two lines":  {func(c *Config) { c.Key = "hidden\nhidden" }, "VAST_API_KEY"},
		"no image":          {func(c *Config) { c.Image = "" }, "VAST_WORKER_IMAGE"},
		"image with space":  {func(c *Config) { c.Image = "a b" }, "VAST_WORKER_IMAGE"},
		"odd login":         {func(c *Config) { c.ImageLogin = "me:hidden" }, "VAST_IMAGE_LOGIN"},
		"no price":          {func(c *Config) { c.MaxPrice = 0 }, "VAST_MAX_PRICE"},
		"no slots":          {func(c *Config) { c.Slots = 0 }, "slots"},
		"small disk":        {func(c *Config) { c.DiskGB = 7 }, "disk"},
		"negative memory":   {func(c *Config) { c.MinVRAM = -1 }, "VAST_MIN_VRAM"},
		"reliability 95":    {func(c *Config) { c.MinReliability = 95 }, "VAST_MIN_RELIABILITY"},
		"reliability NaN":   {func(c *Config) { c.MinReliability = math.NaN() }, "VAST_MIN_RELIABILITY"},
		"country by name":   {func(c *Config) { c.Countries = []string{"Germany"} }, "VAST_COUNTRIES"},
		"model of no NVENC": {func(c *Config) { c.Models = []string{"A100 SXM4"} }, "VAST_GPU_MODELS"},
		"a new model":       {func(c *Config) { c.Models = []string{"RTX 9090"} }, ""},
		"negative pace":     {func(c *Config) { c.Pace = -1 }, "pace"},
		"address of ftp":    {func(c *Config) { c.URL = "ftp://hidden.example" }, "VAST_API_URL"},
		"no URL":            {func(c *Config) { c.URL = "http://[hidden" }, "VAST_API_URL"},
		"no host":           {func(c *Config) { c.URL = "https:///x" }, "VAST_API_URL"},
		"key in address":    {func(c *Config) { c.URL = "https://console.vast.ai/?api_key=hidden" }, "VAST_API_KEY"},
		"user in address":   {func(c *Config) { c.URL = "https://me:hidden@console.vast.ai" }, "VAST_API_URL"},
	} {
		cfg := Config{URL: DefaultURL + "/", Key: testKey, Image: "x", Slots: 1, MaxPrice: 1}
		c.change(&cfg)
		p, err := New(cfg)
		switch {
		case c.want == "" && (err != nil || p.base != DefaultURL):
			t.Errorf("%s: %v", name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hidden")):
			t.Errorf("%s: %v; want a word on %s, and no secret", name, err, c.want)
		}
	}
}

func TestObject(t *testing.T) {
	t.Parallel()
	o := parseObject([]byte(`{"n":1.5,"t":" 2 ","big":1e400,"nan":"NaN","hex":"0x10","no":null,"yes":true,"one":1,"zero":"0","false":"false","list":[],"id":"012","huge":99999999999999999999,"e":1e3}`))
	for name, want := range map[string]string{
		"n": "1.5", "t": "2", "big": "", "nan": "", "no": "", "yes": "", "one": "1", "zero": "0", "list": "", "absent": "", "e": "1000",
	} {
		got := ""
		if n, ok := o.number(name); ok {
			got = fmt.Sprint(n)
		}
		if got != want {
			t.Errorf("number %s is %q, want %q", name, got, want)
		}
	}
	for name, want := range map[string]string{"yes": "true true", "one": "true true", "zero": "false true", "false": "false true", "no": "false false", "list": "false false", "n": "false false"} {
		value, known := o.yes(name)
		if got := fmt.Sprint(value, known); got != want {
			t.Errorf("yes %s is %s, want %s", name, got, want)
		}
	}
	for name, want := range map[string]string{"one": "1", "e": "1000", "id": "12", "huge": "", "zero": "", "n": "", "no": "", "yes": ""} {
		if got := o.id(name); got != want {
			t.Errorf("id %s is %q, want %q", name, got, want)
		}
	}
}
