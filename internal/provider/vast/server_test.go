package vast

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/provider/providertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testKey = "key-0123456789abcdef"

// open returns a provider of the API at a URL, at a pace for tests.
func open(t testing.TB, base string, change ...func(*Config)) *Provider {
	t.Helper()
	cfg := Config{
		URL: base, Key: testKey, Image: "ghcr.io/api-gpu/worker@sha256:" + strings.Repeat("ab", 32), Slots: 1,
		MaxPrice: gpu.Dollar, MinVRAM: 4, Verified: true, MinReliability: 0.95, Pace: 1e-4,
	}
	for _, c := range change {
		c(&cfg)
	}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// scripted is an API that answers what it is told to, and keeps what it was
// asked.
type scripted struct {
	*httptest.Server
	mu    sync.Mutex
	steps []step
	asked []asked
}

type step struct {
	status int
	kind   string // Content-Type
	body   string
	header http.Header
	cut    bool // the connection ends in place of an answer
}

type asked struct {
	method, uri, body string
	header            http.Header
}

func script(t testing.TB, steps ...step) *scripted {
	t.Helper()
	s := &scripted{steps: steps}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *scripted) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	s.asked = append(s.asked, asked{r.Method, r.URL.RequestURI(), string(body), r.Header})
	now := step{status: 500, body: "the script is over"}
	if len(s.steps) > 0 {
		now, s.steps = s.steps[0], s.steps[1:]
	}
	s.mu.Unlock()
	if now.cut {
		panic(http.ErrAbortHandler)
	}
	for name, values := range now.header {
		w.Header()[name] = values
	}
	if now.kind == "" {
		now.kind = "application/json"
	}
	w.Header().Set("Content-Type", now.kind)
	w.WriteHeader(now.status)
	_, _ = io.WriteString(w, now.body)
}

func (s *scripted) calls() []asked {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

// market is a small Vast.ai in virtual time, written from its documentation:
// enough of it for a whole life of an instance. A search answers one offer of
// a machine with many slots, so that several creates of it succeed.
type market struct {
	*httptest.Server
	*providertest.Clock
	mu        sync.Mutex
	instances []contract
	faults    []string
}

type contract struct {
	id      int
	label   string
	created time.Time
}

const theAsk = 21034567

func openMarket(t *testing.T) *market {
	t.Helper()
	m := &market{Clock: providertest.NewClock(time.Date(2026, 8, 7, 12, 0, 0, 0, time.UTC))}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v0/bundles/{$}", m.search)
	mux.HandleFunc("PUT /api/v0/asks/{id}/{$}", m.create)
	mux.HandleFunc("GET /api/v1/instances/{$}", m.list)
	mux.HandleFunc("DELETE /api/v0/instances/{id}/{$}", m.destroy)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		m.fault("%s %s is no call of the API", r.Method, r.URL.Path)
		http.NotFound(w, r)
	})
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+testKey || strings.Contains(r.URL.String(), testKey) {
			reply(w, 404, `{"success":false,"error":"auth_error","msg":"Invalid user key"}`)
			return
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		m.Close()
		if len(m.faults) > 0 {
			t.Errorf("the API was misused: %s", strings.Join(m.faults, "; "))
		}
	})
	return m
}

func (m *market) fault(format string, args ...any) {
	m.faults = append(m.faults, fmt.Sprintf(format, args...))
}

func reply(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

func (m *market) search(w http.ResponseWriter, r *http.Request) {
	var query map[string]any
	if err := json.NewDecoder(r.Body).Decode(&query); err != nil {
		m.fault("search: %v", err)
	}
	for name, value := range query {
		_, isFilter := value.(map[string]any)
		if special := slices.Contains([]string{"order", "limit", "type", "allocated_storage"}, name); special == isFilter {
			reply(w, 400, `{"success":false,"error":"invalid_args","msg":"Invalid query: must be dict of conditions"}`)
			return
		}
	}
	reply(w, 200, `{"offers":[`+anOffer+`]}`)
}

var portOption = regexp.MustCompile(`^-p [0-9:]+(/tcp|/udp)?$`)

func (m *market) create(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Image, Label, Runtype string
		Target                string `json:"target_state"`
		Disk                  float64
		Env                   map[string]string
		Cancel                bool `json:"cancel_unavail"`
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		m.fault("create: %v", err)
	}
	if body.Image == "" || body.Label == "" || body.Runtype != "args" || body.Disk < 8 || !body.Cancel || body.Target != "running" {
		m.fault("create: %+v", body)
	}
	ports := 0
	for name := range body.Env {
		if portOption.MatchString(name) {
			ports++
		}
	}
	if ports != 1 {
		m.fault("create opens %d ports", ports)
	}
	id := r.PathValue("id")
	if id != strconv.Itoa(theAsk) {
		reply(w, 404, fmt.Sprintf(`{"success":false,"error":"no_such_ask","msg":"error 404/3603: no_such_ask Instance type by id %s is not available.","ask_id":%s}`, id, id))
		return
	}
	// Ids are the account's neither alone nor in a row.
	c := contract{31234567 + 7*len(m.instances), body.Label, m.Now()}
	m.instances = append(m.instances, c)
	reply(w, 200, fmt.Sprintf(`{"success":true,"new_contract":%d,"instance_api_key":"%s"}`, c.id, rand.Text()))
}

func (m *market) list(w http.ResponseWriter, r *http.Request) {
	limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
	if limit < 1 || limit > 25 || r.URL.Query().Get("order_by") == "" {
		m.fault("list: %s", r.URL.RawQuery)
	}
	after := 0
	if token := r.URL.Query().Get("after_token"); token != "" {
		after, _ = strconv.Atoi(strings.TrimPrefix(token, "after+/="))
	}
	var rows []string
	total, next := 0, "null"
	for _, c := range m.instances {
		age := m.Now().Sub(c.created)
		if c.label == "" || age < 3*time.Second {
			continue // destroyed, or not yet to be seen
		}
		total++
		switch {
		case c.id <= after:
		case len(rows) < limit:
			rows = append(rows, row(c, age))
			after = c.id
		default:
			next = fmt.Sprintf(`"after+/=%d"`, after)
		}
	}
	reply(w, 200, fmt.Sprintf(`{"success":true,"total_instances":%d,"instances_found":%d,"label_counts":{},"next_token":%s,"instances":[%s]}`,
		total, len(rows), next, strings.Join(rows, ",")))
}

// row is an instance by its age.
func row(c contract, age time.Duration) string {
	switch {
	case age < 5*time.Second:
		return fmt.Sprintf(`{"id":%d,"label":"%s","actual_status":null,"intended_status":"running","cur_state":"running","next_state":"running","status_msg":null,"public_ipaddr":null,"ports":null}`, c.id, c.label)
	case age < 20*time.Second:
		return fmt.Sprintf(`{"id":%d,"label":"%s","actual_status":"loading","intended_status":"running","cur_state":"running","status_msg":"a1b2c3d4e5f6: Pull complete\n","public_ipaddr":"203.0.113.42\n","ports":{}}`, c.id, c.label)
	}
	return fmt.Sprintf(aRow, c.id, c.label)
}

func (m *market) destroy(w http.ResponseWriter, r *http.Request) {
	id, _ := strconv.Atoi(r.PathValue("id"))
	for n, c := range m.instances {
		if c.id == id && c.label != "" {
			m.instances[n].label = ""
			reply(w, 200, `{"success":true}`)
			return
		}
	}
	reply(w, 404, fmt.Sprintf(`{"success":false,"error":"no_such_instance","msg":"Instance %d not found."}`, id))
}

// anOffer and aRow are the examples of the documentation.
const anOffer = `{"id":21034567,"ask_contract_id":21034567,"machine_id":18231,"host_id":55555,"gpu_name":"RTX 3060","num_gpus":1,
"gpu_frac":0.25,"gpu_ram":12288,"gpu_total_ram":12288,"compute_cap":860,"cuda_max_good":12.8,"driver_version":"570.133.20",
"cpu_cores":32,"cpu_cores_effective":8.0,"cpu_ram":64257,"cpu_arch":"amd64","disk_space":211.4,"disk_bw":2890.1,
"inet_down":812.3,"inet_up":540.9,"inet_down_cost":0.0026,"inet_up_cost":0.0039,"storage_cost":0.15,"storage_total_cost":0.00417,
"dph_base":0.0489,"dph_total":0.0531,"min_bid":0.031,"is_bid":false,"duration":2412345.7,"end_date":1790000000.0,
"reliability2":0.9931,"verification":"verified","verified":null,"static_ip":false,"direct_port_count":99,"public_ipaddr":"203.0.113.42",
"geolocation":"Sofia, BG","rentable":true,"rented":false,"external":false,"hosting_type":0,"dlperf":11.2,"score":210.5}`

const aRow = `{"id":%d,"label":"%s","actual_status":"running","intended_status":"running","cur_state":"running","next_state":"running",
"status_msg":"success, running ghcr.io/me/worker:1.2/args","public_ipaddr":"203.0.113.42\n",
"ports":{"3334/tcp":[{"HostIp":"0.0.0.0","HostPort":"40713"},{"HostIp":"::","HostPort":"40714"}]},"direct_port_count":2,
"machine_id":18231,"host_id":55555,"gpu_name":"RTX 3060","num_gpus":1,"dph_base":0.0489,"dph_total":0.0531,"storage_cost":0.15,
"inet_down_cost":0.0026,"inet_up_cost":0.0039,"start_date":1790000000.1,"geolocation":"Sofia, BG",
"extra_env":[["TOKEN","x"],["-p 3334:3334","1"]],"image_runtype":"args","is_bid":false}`

// TestConformance holds the adapter against the contract of gpu.Provider.
func TestConformance(t *testing.T) {
	t.Parallel()
	var markets sync.Map // by provider
	var now sync.Mutex
	var clock *providertest.Clock
	fresh := func(t *testing.T) gpu.Provider {
		m := openMarket(t)
		p := open(t, m.URL)
		now.Lock()
		defer now.Unlock()
		clock = m.Clock
		markets.Store(p, m)
		return p
	}
	providertest.Run(t, fresh, providertest.Options{
		Step: time.Second,
		// The subtests run one after another: the last market is theirs.
		Pass: func(d time.Duration) {
			now.Lock()
			defer now.Unlock()
			clock.Advance(d)
		},
		Settle: time.Minute,
		Env:    map[string]string{"SESSION_TOKEN": "token", "X_API_KEY": "key"},
		Reopen: func(t *testing.T, p gpu.Provider) gpu.Provider {
			m, _ := markets.Load(p)
			return open(t, m.(*market).URL)
		},
	})
}
