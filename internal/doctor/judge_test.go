package doctor

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/gpu"
)

// well is a server on which all is well: it rents, in a container with a volume.
func well() Seen {
	cheap := gpu.Offer{ID: "1", GPU: "RTX 3060", HourlyUSD: gpu.Dollar / 10}
	dear := gpu.Offer{ID: "2", GPU: "RTX 4090", HourlyUSD: gpu.Dollar / 2}
	return Seen{
		Facts: Facts{
			Provider: "vast", Production: true, Fleet: "us", Image: "ghcr.io/you/worker:1", DayBudget: 5 * gpu.Dollar, InContainer: true,
			StorageMin: 1 << 30, MaxUpload: 2 << 30, PublicURL: "https://video.example.com", Port: 3000,
		},
		Instances: Asked[gpu.Snapshot]{Value: gpu.Snapshot{Complete: true, Instances: []gpu.Instance{{Label: "ag1.us.x"}, {Label: "render-farm"}}}, Asked: true},
		Credit:    Asked[gpu.USD]{Value: 10 * gpu.Dollar, Asked: true},
		Offers:    Asked[[]gpu.Offer]{Value: []gpu.Offer{dear, cheap, dear}, Asked: true},
		Ahead:     Asked[time.Duration]{Value: -2 * time.Second, Asked: true},
		Digest:    Asked[string]{Value: "sha256:ab", Asked: true},
		Database:  Asked[Database]{Value: Database{Engine: "sqlite", Schema: 8, Known: 8}, Asked: true},
		Storage:   Asked[Storage]{Value: Storage{Free: 50 << 30, Used: 1 << 20, Limit: 30 << 30}, Asked: true},
		Public:    Asked[Public]{Value: Public{Status: 200, Service: "api-gpu orchestrator", Proven: true, Provable: true}, Asked: true},
	}
}

// owned is a server with a worker of its own, in development.
func owned(provider string, w Worker) Seen {
	return Seen{
		Facts:    Facts{Provider: provider, Fleet: "us", StorageMin: 1 << 30, MaxUpload: 2 << 30},
		Database: Asked[Database]{Value: Database{Engine: "sqlite", Missing: true}, Asked: true},
		Storage:  Asked[Storage]{Value: Storage{Missing: true, Free: 50 << 30}, Asked: true},
		Workers:  Asked[[]Worker]{Value: []Worker{w}, Asked: true},
	}
}

func named(t *testing.T, checks []apigpu.Check, name string) apigpu.Check {
	t.Helper()
	n := slices.IndexFunc(checks, func(c apigpu.Check) bool { return c.Name == name })
	if n < 0 {
		t.Fatalf("no check %s", name)
	}
	return checks[n]
}

// Where all is well nothing is warned of.
func TestJudgeWell(t *testing.T) {
	t.Parallel()
	fit := Worker{Name: "http://gpu:3334", Accepted: true, Info: apigpu.WorkerInfo{API: apigpu.APIVersion, Encoder: "h264_nvenc", GPU: "RTX 4090"}}
	for name, c := range map[string]struct {
		seen    Seen
		skipped []string
	}{
		"vast":   {well(), []string{"workers"}},
		"static": {owned("static", fit), []string{"account", "credit", "offers", "image", "clock", "public_url", "foreign"}},
	} {
		checks := Judge(c.seen)
		var names []string
		for _, check := range checks {
			names = append(names, check.Name)
			want := apigpu.CheckOK
			if slices.Contains(c.skipped, check.Name) {
				want = apigpu.CheckSkipped
			}
			if check.Status != want || check.Message == "" || !strings.HasSuffix(check.Message, ".") {
				t.Errorf("%s: %+v, want %s", name, check, want)
			}
		}
		if !slices.Equal(names, Names()) {
			t.Errorf("%s: %v", name, names)
		}
	}
}

// Each fault is found by its check, told in words, and says what to do.
func TestJudge(t *testing.T) {
	t.Parallel()
	limited := fmt.Errorf("list: %w", gpu.RateLimited{After: time.Second})
	fit := Worker{Name: "http://gpu:3334", Accepted: true, Info: apigpu.WorkerInfo{API: apigpu.APIVersion, Encoder: "libx264"}}
	worker := func(change func(*Worker)) func(*Seen) {
		return func(s *Seen) { w := fit; change(&w); *s = owned("static", w) }
	}
	other := func(v ...Volume) func(*Seen) { return func(s *Seen) { s.Volumes.Value = v } }
	for name, c := range map[string]struct {
		change        func(*Seen)
		check         string
		status        apigpu.CheckStatus
		message, hint string
	}{
		"a setting":             {func(s *Seen) { s.Faults = []string{"PORT is odd", "HOST too"} }, "settings", apigpu.CheckFailed, "PORT is odd; HOST too.", ".env.example"},
		"a long idle timeout":   {func(s *Seen) { s.Warnings = []string{"idle machines go after 1m0s"} }, "settings", apigpu.CheckWarning, "Idle machines go after 1m0s.", ""},
		"no such key":           {func(s *Seen) { s.Instances.Err = gpu.ErrAuth }, "account", apigpu.CheckFailed, "does not accept VAST_API_KEY", "instance_write"},
		"no network":            {func(s *Seen) { s.Instances.Err = errors.New("dial tcp: no route to host") }, "account", apigpu.CheckFailed, "no route to host", "network"},
		"late":                  {func(s *Seen) { s.Instances.Err = errors.Join(ErrLate, errors.New("x")) }, "account", apigpu.CheckFailed, "no answer in time", "network"},
		"asked too often":       {func(s *Seen) { s.Instances.Err = limited }, "account", apigpu.CheckWarning, "somebody else asks", "minute"},
		"settings hide it":      {func(s *Seen) { s.Instances = Asked[gpu.Snapshot]{} }, "account", apigpu.CheckSkipped, "settings", ""},
		"no credit":             {func(s *Seen) { s.Credit.Value = 0 }, "credit", apigpu.CheckFailed, "no credit ($0.00)", "automatic billing off"},
		"little credit":         {func(s *Seen) { s.Credit.Value = 4 * gpu.Dollar }, "credit", apigpu.CheckWarning, "$4.00", "billing"},
		"a key without credit":  {func(s *Seen) { s.Credit.Err = gpu.ErrAuth }, "credit", apigpu.CheckWarning, "may not read", "user_read"},
		"nothing on offer":      {func(s *Seen) { s.Offers.Value = nil }, "offers", apigpu.CheckFailed, "no job could start", "VAST_MAX_PRICE"},
		"little on offer":       {func(s *Seen) { s.Offers.Value = s.Offers.Value[:1] }, "offers", apigpu.CheckWarning, "$0.50 an hour", "Widen"},
		"the cheapest":          {func(*Seen) {}, "offers", apigpu.CheckOK, "Offers that fit: 3, the cheapest at $0.10 an hour (RTX 3060).", ""},
		"no image":              {func(s *Seen) { s.Digest.Err = gpu.ErrNoImage }, "image", apigpu.CheckFailed, "ghcr.io/you/worker:1", "docker-push-worker"},
		"image of an ARM":       {func(s *Seen) { s.Digest.Err = gpu.ErrPlatform }, "image", apigpu.CheckFailed, "not for linux/amd64", "PLATFORM=linux/amd64"},
		"registry away":         {func(s *Seen) { s.Digest.Err = errors.New("timeout") }, "image", apigpu.CheckWarning, "does not answer", "all the same"},
		"image not asked for":   {func(s *Seen) { s.Digest, s.NoImage = Asked[string]{}, "not asked" }, "image", apigpu.CheckSkipped, "Not asked.", ""},
		"no database":           {func(s *Seen) { s.Database.Value = Database{Missing: true} }, "database", apigpu.CheckOK, "no database yet", ""},
		"database held":         {func(s *Seen) { s.Database.Err = ErrLate }, "database", apigpu.CheckFailed, "another program may hold it", "DATABASE_URL"},
		"database broken":       {func(s *Seen) { s.Database.Err = errors.New("file is not a database") }, "database", apigpu.CheckFailed, "not a database", "DATABASE_URL"},
		"PostgreSQL away":       {func(s *Seen) { s.Database.Value.Engine, s.Database.Err = "postgres", errors.New("connection refused") }, "database", apigpu.CheckFailed, "connection refused.", "sslmode"},
		"database without room": {func(s *Seen) { s.Database.Err = fmt.Errorf("write x: %w", syscall.ENOSPC) }, "database", apigpu.CheckFailed, "no room", "Make room"},
		"results without room":  {func(s *Seen) { s.Storage.Err = fmt.Errorf("write x: %w", syscall.ENOSPC) }, "storage", apigpu.CheckFailed, "no room", "Make room"},
		"older database":        {func(s *Seen) { s.Database.Value.Schema = 6 }, "database", apigpu.CheckOK, "brings it to 8", ""},
		"newer database":        {func(s *Seen) { s.Database.Value.Schema = 9 }, "database", apigpu.CheckFailed, "newer api-gpu", "*.before-0009"},
		"no volume":             {func(s *Seen) { s.Forgets = "DATABASE_URL=sqlite:data/x.db" }, "state", apigpu.CheckFailed, "nothing is rented", "ALLOW_EPHEMERAL"},
		"no volume, allowed":    {func(s *Seen) { s.Forgets, s.AllowEphemeral = "x=y", true }, "state", apigpu.CheckWarning, "forgets", "/app/data"},
		"no storage":            {func(s *Seen) { s.Storage.Err = errors.New("permission denied") }, "storage", apigpu.CheckFailed, "permission denied.", "STORAGE_URL"},
		"no storage, no disk":   {func(s *Seen) { s.Storage.Err = errors.New("permission denied") }, "disk", apigpu.CheckSkipped, "not known", ""},
		"full":                  {func(s *Seen) { s.Storage.Value.Full = true }, "storage", apigpu.CheckFailed, "full", "STORAGE_MAX"},
		"no disk":               {func(s *Seen) { s.Storage.Value.Free = 100 << 20 }, "disk", apigpu.CheckFailed, "100 MiB free", "DISK_FREE_MIN"},
		"little disk":           {func(s *Seen) { s.Storage.Value.Free = 4 << 30 }, "disk", apigpu.CheckWarning, "4.0 GiB", "MAX_UPLOAD"},
		"database's own disk":   {other(Volume{ForDatabase, 50 << 20, 1 << 20}), "disk", apigpu.CheckFailed, "results has 50 GiB free. The volume of the database has 50 MiB free", "DATABASE_URL"},
		"database may outgrow":  {other(Volume{ForDatabase, 3 << 30, 4 << 30}), "disk", apigpu.CheckWarning, "the database has 3.0 GiB free", "DATABASE_URL"},
		"database has room":     {other(Volume{ForDatabase, 3 << 30, 1 << 20}), "disk", apigpu.CheckOK, "the database has 3.0 GiB free.", ""},
		"workers have none":     {other(Volume{ForWorkers, 3 << 30, 0}), "disk", apigpu.CheckWarning, "local workers has 3.0 GiB free", "LOCAL_DIR"},
		"the worst of disks":    {other(Volume{ForWorkers, 3 << 30, 0}, Volume{ForDatabase, 0, 0}), "disk", apigpu.CheckFailed, "local workers", "DATABASE_URL"},
		"no word of disks":      {func(s *Seen) { s.Volumes.Err = errors.New("away") }, "disk", apigpu.CheckOK, "Of other volumes it is not known.", ""},
		"a clock behind":        {func(s *Seen) { s.Ahead.Value = 31 * time.Second }, "clock", apigpu.CheckWarning, "31s behind", "timedatectl"},
		"a clock ahead":         {func(s *Seen) { s.Ahead.Value = -time.Hour }, "clock", apigpu.CheckWarning, "1h0m0s ahead", "timedatectl"},
		"a clock a little off":  {func(s *Seen) { s.Ahead.Value = 30 * time.Second }, "clock", apigpu.CheckOK, "agrees", ""},
		"no clock":              {func(s *Seen) { s.Ahead.Asked = false }, "clock", apigpu.CheckSkipped, "no answer", ""},
		"no public url":         {func(s *Seen) { s.PublicURL, s.Public = "", Asked[Public]{} }, "public_url", apigpu.CheckWarning, "not set", "https://video.example.com"},
		"the panel's own page":  {func(s *Seen) { s.Public.Value = Public{Status: 404} }, "public_url", apigpu.CheckFailed, "answers 404", "port 3000"},
		"another of ours":       {func(s *Seen) { s.Public.Value.Proven = false }, "public_url", apigpu.CheckFailed, "another api-gpu", "GPU_API_KEY"},
		"not to be proven":      {func(s *Seen) { s.Public.Value.Proven, s.Public.Value.Provable = false, false }, "public_url", apigpu.CheckWarning, "cannot be told", "Start the server"},
		"no such name":          {func(s *Seen) { s.Public.Err = &net.DNSError{IsNotFound: true} }, "public_url", apigpu.CheckFailed, "video.example.com of PUBLIC_URL does not exist", "DNS"},
		"a wrong certificate":   {func(s *Seen) { s.Public.Err = x509.UnknownAuthorityError{} }, "public_url", apigpu.CheckFailed, "certificate", "HTTPS"},
		"no TLS there":          {func(s *Seen) { s.Public.Err = fmt.Errorf("Get: %w", http.ErrSchemeMismatch) }, "public_url", apigpu.CheckFailed, "plain HTTP", "HTTPS"},
		"silence":               {func(s *Seen) { s.Public.Err = errors.New("connection refused") }, "public_url", apigpu.CheckWarning, "connection refused.", "from elsewhere"},
		"of another fleet":      {func(s *Seen) { s.Fleet = "them" }, "foreign", apigpu.CheckWarning, "us (1)", "orchestrator sweep --fleet=us"},
		"of an unknown fleet":   {func(s *Seen) { s.Fleet = "" }, "foreign", apigpu.CheckWarning, "of an api-gpu", "orchestrator sweep --fleet=us"},
		"half a listing":        {func(s *Seen) { s.Instances.Value.Complete = false }, "foreign", apigpu.CheckWarning, "did not tell all", ""},
		"no listing":            {func(s *Seen) { s.Instances.Err = gpu.ErrAuth }, "foreign", apigpu.CheckSkipped, "did not tell", ""},
		"a server that stopped": {func(s *Seen) { s.Stopped = []string{"the account has no credit; add some"} }, "workers", apigpu.CheckWarning, "Nothing is rented now: the account has no credit; add some.", "api-gpu gpus"},
		"workers unknown":       {func(s *Seen) { s.Provider = "" }, "workers", apigpu.CheckSkipped, "settings", ""},
		"a worker":              {worker(func(*Worker) {}), "workers", apigpu.CheckOK, "encodes with libx264", ""},
		"a worker away":         {worker(func(w *Worker) { w.Err = errors.New("connection refused") }), "workers", apigpu.CheckFailed, "http://gpu:3334 does not answer: connection refused.", "WORKER_URL"},
		"a worker's key":        {worker(func(w *Worker) { w.Accepted = false }), "workers", apigpu.CheckFailed, "does not accept", "WORKER_TOKEN"},
		"a worker without font": {worker(func(w *Worker) { w.Reason = "no font" }), "workers", apigpu.CheckFailed, "No font.", "selftest"},
		"an old worker":         {worker(func(w *Worker) { w.Info.API = 0 }), "workers", apigpu.CheckFailed, "speaks version 0", "Update"},
		"a worker without GPU":  {func(s *Seen) { *s = owned("static", fit); s.RequireGPU = true }, "workers", apigpu.CheckFailed, "no GPU", "REQUIRE_GPU"},
		"no worker program":     {func(s *Seen) { *s = owned("local", Worker{Name: "bin/worker", Err: errors.New("not there")}) }, "workers", apigpu.CheckFailed, "on this machine", "WORKER_BIN"},
	} {
		s := well()
		c.change(&s)
		got := named(t, Judge(s), c.check)
		if got.Status != c.status || !strings.Contains(got.Message, c.message) || !strings.Contains(got.Hint, c.hint) {
			t.Errorf("%s: %+v, want %s %q, %q", name, got, c.status, c.message, c.hint)
		}
		if got.Status == apigpu.CheckFailed && got.Hint == "" {
			t.Errorf("%s: it does not say what to do", name)
		}
	}
}

// Of several workers the worst counts, and each is told of.
func TestJudgeWorkers(t *testing.T) {
	t.Parallel()
	s := owned("static", Worker{Name: "http://a", Err: errors.New("away")})
	fit := Worker{Name: "http://b", Accepted: true, Info: apigpu.WorkerInfo{API: apigpu.APIVersion, Encoder: "h264_nvenc", GPU: "x"}}
	s.Workers.Value = append(s.Workers.Value, fit)
	got := named(t, Judge(s), "workers")
	if got.Status != apigpu.CheckFailed || !strings.Contains(got.Message, "http://a does not answer") || !strings.Contains(got.Message, "http://b encodes") {
		t.Errorf("%+v", got)
	}
}

func TestSentence(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"it is so": "It is so.", "PORT is odd.": "PORT is odd.", ".env cannot be read": ".env cannot be read.", "": "",
		"ghcr.io/x is gone": "ghcr.io/x is gone.",
	} {
		if got := sentence(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
