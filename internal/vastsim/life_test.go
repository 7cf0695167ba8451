package vastsim

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestLife(t *testing.T) {
	t.Parallel()
	r := newRig(t, Scenario{Timing: Timing{Provision: Duration(10 * time.Second), Create: Duration(5 * time.Second), Pull: Duration(time.Minute)}})
	id, key := r.create("a")
	r.apply(`{"faults":[{"kind":"show_bare"}]}`)
	if i := r.show(id); len(i) != 1 || number(i["id"]) != id {
		t.Errorf("at first: %v", i)
	}
	r.Advance(6 * time.Second)
	if i := r.show(id); i["actual_status"] != nil || i["label"] != "a" || i["public_ipaddr"] != nil || i["ports"] != nil || i["direct_port_start"] != -1.0 || i["cur_state"] != "running" {
		t.Errorf("provisioning: %v", i)
	}
	r.Advance(4 * time.Second)
	if s := r.status(id); s != "created" {
		t.Errorf("then: %v", s)
	}
	r.Advance(5 * time.Second)
	var messages []any
	for range 3 {
		r.Advance(time.Second)
		i := r.show(id)
		messages = append(messages, i["status_msg"])
		if i["actual_status"] != "loading" || i["public_ipaddr"] != "203.0.113.42\n" || fmt.Sprint(i["ports"]) != "map[]" {
			t.Errorf("loading: %v", i)
		}
	}
	if !strings.HasSuffix(messages[0].(string), ": Downloading\n") || messages[0] == messages[1] {
		t.Errorf("progress: %v", messages)
	}
	r.Advance(time.Minute)
	i := r.show(id)
	port := i["ports"].(map[string]any)["3334/tcp"].([]any)
	four, six := port[0].(map[string]any), port[1].(map[string]any)
	if four["HostIp"] != "0.0.0.0" || six["HostIp"] != "::" || four["HostPort"] != six["HostPort"] || four["HostPort"].(string) == "3334" {
		t.Errorf("ports: %v", port)
	}
	if i["actual_status"] != "running" || i["status_msg"] != "success, running ghcr.io/me/worker:1.2/args" || i["gpu_name"] != "RTX 3060" ||
		fmt.Sprint(i["extra_env"]) != "[[-p 3334:3334 1] [TOKEN x]]" || i["image_uuid"] != "ghcr.io/me/worker:1.2" || i["image_runtype"] != "args" {
		t.Errorf("running: %v", i)
	}
	env := r.scripted.Env(r.Truth().Instances[0].ID)
	if env["CONTAINER_API_KEY"] != key || env["TOKEN"] != "x" || env["VAST_TCP_PORT_3334"] != four["HostPort"] || env["-p 3334:3334"] != "" {
		t.Errorf("environment: %v", env)
	}
	r.scripted.Exit(r.Truth().Instances[0].ID, "no encoder here")
	if i := r.show(id); i["actual_status"] != "exited" || i["intended_status"] != "running" || fmt.Sprint(i["ports"]) != "map[]" {
		t.Errorf("exited: %v", i)
	}
	r.must("DELETE", "/api/v0/instances/"+id+"/", "{}")
	if a := r.call("GET", "/api/v0/instances/"+id+"/", nil); a.status != 200 || strings.TrimSpace(a.text) != `{"instances":null}` {
		t.Errorf("after the end: %d %s", a.status, a.text)
	}
}

func TestEnv(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`null`: "[] []",
		`{"A":"b","-p 3334:3334":"1","-p 53:53/udp":"1","-p 70000:70000":"1"}`: "[{-p 3334:3334 1} {-p 53:53/udp 1} {-p 70000:70000 1} {A b}] [3334/tcp 53/udp 70000/tcp]",
		`{"-p 3334:3334":"0","-p x:1":"1","-p 1":"1"}`:                         "[{-p 1 1} {-p 3334:3334 0} {-p x:1 1}] []",
		`{"--shm-size 1g":"1","-h":"host"}`:                                    "[{-h host}] []",
	} {
		env, applied, err := readEnv([]byte(text))
		got := strings.NewReplacer("[[", "[{", "]]", "}]", "] [", "} {").Replace(fmt.Sprint(env))
		if got = fmt.Sprint(got, " ", portsOf(env)); got != want || !applied || err != nil {
			t.Errorf("%s is %s, %v, %v; want %s", text, got, applied, err, want)
		}
	}
	r := newRig(t, Scenario{})
	r.must("PUT", "/api/v0/asks/"+r.ask()+"/", body("a", func(b row) { b["env"] = "-e A=b -p 3334:3334" }))
	r.Advance(time.Minute)
	if ports := r.Truth().Instances[0].HostPorts; len(ports) != 0 || !slices.Contains(r.rules(), EnvIgnored) {
		t.Errorf("a text was applied: %v, %v", ports, r.rules())
	}
}

func TestDestroy(t *testing.T) {
	t.Parallel()
	r := newRig(t, Scenario{})
	id := r.run("a")
	r.must("DELETE", "/api/v0/instances/"+id+"/", nil)
	a := r.call("DELETE", "/api/v0/instances/"+id+"/", nil)
	if a.status != 404 || a.json["error"] != "no_such_instance" || a.json["msg"] != "Instance "+id+" not found." {
		t.Errorf("twice: %d %s", a.status, a.text)
	}
	// For a moment it is still listed.
	if ids, page := r.listed(""); len(ids) != 1 || page["instances"].([]any)[0].(map[string]any)["cur_state"] != "unloaded" {
		t.Errorf("at once: %v", page)
	}
	r.Advance(3 * time.Second)
	if ids, _ := r.listed(""); len(ids) != 0 {
		t.Errorf("later: %v", ids)
	}
	if truth := r.Truth().Instances[0]; truth.Alive || truth.Running {
		t.Errorf("in truth: %+v", truth)
	}
	if a := r.call("DELETE", "/api/v0/instances/one/", nil); a.status != 400 || a.json["error"] != "invalid_args" {
		t.Errorf("no number: %d %s", a.status, a.text)
	}
}

func TestStopAndStart(t *testing.T) {
	t.Parallel()
	r := newRig(t, Scenario{})
	id := r.run("a")
	path := "/api/v0/instances/" + id + "/"
	r.must("PUT", path, `{"state":"stopped"}`)
	if i := r.show(id); i["actual_status"] != "stopped" || i["cur_state"] != "stopped" || i["intended_status"] != "stopped" {
		t.Errorf("stopped: %v", i)
	}
	r.must("PUT", path, `{"state":"running"}`)
	r.Advance(time.Minute)
	if s := r.status(id); s != "running" {
		t.Errorf("started: %v", s)
	}
	r.must("PUT", path, `{"label":"b"}`)
	if i := r.show(id); i["label"] != "b" {
		t.Errorf("renamed: %v", i["label"])
	}
	for body, code := range map[string]string{
		`{"state":"fast"}`: "invalid_args", `{}`: "invalid_args", `[`: "invalid_args", `{"label":"` + strings.Repeat("x", 257) + `"}`: "label_too_long",
	} {
		if a := r.call("PUT", path, body); a.status != 400 || a.json["error"] != code {
			t.Errorf("%.20s: %d %s", body, a.status, a.text)
		}
	}
	if a := r.call("PUT", "/api/v0/instances/1/", `{"state":"stopped"}`); a.status != 404 || a.json["error"] != "no_such_instance" {
		t.Errorf("unknown: %d %s", a.status, a.text)
	}
}

// A start hurries nothing that boots, heals no host, and thaws what is frozen.
func TestStartOfOthers(t *testing.T) {
	t.Parallel()
	r := newRig(t, Scenario{Boots: []BootRule{{Label: "a", Behaviour: Behaviour{Fails: Never}}, {Label: "b", Behaviour: Behaviour{Fails: DockerFails}}}})
	start := func(id string) any {
		r.must("PUT", "/api/v0/instances/"+id+"/", `{"state":"running"}`)
		r.Advance(time.Minute)
		return r.status(id)
	}
	if s := start(r.run("a")); s != nil {
		t.Errorf("what never boots: %v", s)
	}
	b := r.run("b")
	r.must("PUT", "/api/v0/instances/"+b+"/", `{"state":"stopped"}`)
	if s := start(b); s != "created" {
		t.Errorf("what Docker cannot start: %v", s)
	}
	c := r.run("c")
	for _, i := range r.Truth().Instances {
		if i.Label == "c" {
			if err := r.Do(i.ID, Deed{Do: DoFreeze}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if s := start(c); s != "running" {
		t.Errorf("what was frozen: %v", s)
	}
}

// A start for which the GPU is gone stays queued: it runs, and costs, when
// nobody thinks of it any more.
func TestQueuedStart(t *testing.T) {
	t.Parallel()
	r := newRig(t, Scenario{})
	id := r.run("a")
	known := r.Truth().Instances[0].ID
	if err := r.Do(known, Deed{Do: DoReclaim}); err != nil {
		t.Fatal(err)
	}
	path := "/api/v0/instances/" + id + "/"
	a := r.must("PUT", path, `{"state":"running"}`)
	if a["success"] != false || a["error"] != "resources_unavailable" || a["msg"] != "Required resources are currently unavailable, state change queued." {
		t.Errorf("start: %v", a)
	}
	r.Advance(time.Hour)
	if s := r.status(id); s != "stopped" {
		t.Errorf("an hour later: %v", s)
	}
	if err := r.Do(known, Deed{Do: DoReturn}); err != nil {
		t.Fatal(err)
	}
	r.Advance(time.Minute)
	if s := r.status(id); s != "running" {
		t.Errorf("with the GPU: %v", s)
	}
	// Without a start it would have stayed as it was.
	if err := r.Do(known, Deed{Do: DoOutbid}); err != nil {
		t.Fatal(err)
	}
	if err := r.Do(known, Deed{Do: DoReturn}); err != nil {
		t.Fatal(err)
	}
	r.Advance(time.Hour)
	if i := r.show(id); i["actual_status"] != "stopped" || i["cur_state"] != "stopped" || i["next_state"] != "stopped" {
		t.Errorf("outbid: %v", i)
	}
}

// Each way in which a host can fail looks as it was seen.
func TestHosts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		fails, status, message string
		address, ports         bool
	}{
		{"", "running", "success", true, true},
		{Never, "<nil>", "<nil>", false, false},
		{Stuck, "loading", ": ", true, false},
		{DockerFails, "created", "OCI runtime create failed", false, false},
		{NoImage, "loading", "manifest unknown", true, false},
		{Denied, "loading", "pull access denied", true, false},
		{TooMany, "loading", "toomanyrequests", true, false},
		{NoDNS, "loading", "no such host", true, false},
		{NoAddress, "running", "success", false, false},
		{NoPorts, "running", "success", false, false},
		{WrongPort, "running", "success", true, true},
		{Unreachable, "running", "success", true, true},
		{ExitsAtOnce, "exited", "<nil>", false, false},
	} {
		r := newRig(t, Scenario{Boots: []BootRule{{Behaviour: Behaviour{Fails: c.fails}}}})
		id := r.run("a")
		i := r.show(id)
		if fmt.Sprint(i["actual_status"]) != c.status || !strings.Contains(fmt.Sprint(i["status_msg"]), c.message) || (i["public_ipaddr"] != nil) != c.address {
			t.Errorf("%q: %v, %v, %v", c.fails, i["actual_status"], i["status_msg"], i["public_ipaddr"])
		}
		if ports, _ := i["ports"].(map[string]any); (len(ports) > 0) != c.ports {
			t.Errorf("%q: ports %v", c.fails, ports)
		}
		if c.fails == WrongPort && !strings.HasSuffix(r.url, r.address(id)[strings.LastIndex(r.address(id), ":"):]) {
			t.Errorf("the wrong port is %s", r.address(id))
		}
		if c.fails == NoImage {
			r.Advance(giveUp)
			if i := r.show(id); i["intended_status"] != "stopped" {
				t.Errorf("a failed pull is given up: %v", i["intended_status"])
			}
		}
	}
}

func TestSlowBootAndWhatFollows(t *testing.T) {
	t.Parallel()
	r := newRig(t, Scenario{Boots: []BootRule{
		{Label: "b", Behaviour: Behaviour{Fails: Never}},
		{Times: 2, Behaviour: Behaviour{Pull: Duration(20 * time.Minute), Then: DoOutbid, After: Duration(time.Hour), PriceFactor: 2, IgnoresDestroy: true}},
	}})
	a, _ := r.create("a")
	r.Advance(19 * time.Minute)
	if s := r.status(a); s != "loading" {
		t.Errorf("after 19 minutes: %v", s)
	}
	r.Advance(2 * time.Minute)
	if i := r.show(a); i["actual_status"] != "running" || i["dph_base"] != 2*0.0489 {
		t.Errorf("after 21 minutes: %v at %v", i["actual_status"], i["dph_base"])
	}
	r.must("DELETE", "/api/v0/instances/"+a+"/", nil)
	if i := r.show(a); i == nil {
		t.Error("it was destroyed")
	}
	r.Advance(time.Hour)
	if s := r.status(a); s != "stopped" {
		t.Errorf("an hour later: %v", s)
	}
	if c, _ := r.create("c"); r.status(c) != nil {
		t.Error("c is not new")
	}
	d := r.run("d")
	if s := r.status(d); s != "running" {
		t.Errorf("the rule went on: %v", s)
	}
}

func TestDeeds(t *testing.T) {
	t.Parallel()
	for do, want := range map[string]string{
		DoExit: "exited running", DoOffline: "offline running", DoUnknown: "unknown running", DoOutbid: "stopped stopped",
		DoReclaim: "stopped stopped", DoFreeze: "frozen frozen", DoVanish: "<nil> <nil>", DoReturn: "running running", DoTraffic: "running running",
	} {
		r := newRig(t, Scenario{Events: []Event{{After: Duration(3 * time.Minute), Label: "a", Deed: Deed{Do: do}}}})
		id, other := r.run("a"), r.run("b")
		if s := r.status(id); do != DoReturn && do != DoTraffic && s != "running" {
			t.Errorf("%s before: %v", do, s)
		}
		r.Advance(10 * time.Minute)
		i := r.show(id)
		if got := fmt.Sprint(i["actual_status"], " ", i["intended_status"]); got != want {
			t.Errorf("%s: %s, want %s", do, got, want)
		}
		if s := r.status(other); s != "running" {
			t.Errorf("%s happened to another: %v", do, s)
		}
	}
	r := newRig(t, Scenario{})
	if err := r.Do(1, Deed{Do: DoExit}); err == nil {
		t.Error("something happened to nothing")
	}
	r.run("a")
	if err := r.Do(r.Truth().Instances[0].ID, Deed{Do: "dance"}); err == nil {
		t.Error("an unknown deed was done")
	}
}

func TestLogs(t *testing.T) {
	t.Parallel()
	r := newRig(t, Scenario{Timing: Timing{LogLag: Duration(3 * time.Second)}})
	id := r.run("a")
	known := r.Truth().Instances[0].ID
	r.scripted.Exit(known, "no encoder here")
	fetch := func() (int, string) {
		log := r.must("PUT", "/api/v0/instances/request_logs/"+id+"/", `{"tail":"1000"}`)
		address := strings.TrimPrefix(log["result_url"].(string), r.url)
		if a := r.as("", "GET", address, nil); a.status != 403 {
			t.Errorf("at once: %d", a.status)
		}
		r.Advance(3 * time.Second)
		a := r.as("", "GET", address, nil)
		return a.status, a.text
	}
	if status, text := fetch(); status != 200 || text != "no encoder here\n" {
		t.Errorf("later: %d %q", status, text)
	}
	if err := r.Do(known, Deed{Do: DoOffline}); err != nil {
		t.Fatal(err)
	}
	if status, _ := fetch(); status != 403 {
		t.Errorf("of a lost host: %d", status)
	}
}

// Stand-ins can answer at their ports.
func TestScriptedServes(t *testing.T) {
	t.Parallel()
	r := newRig(t, Scenario{Boots: []BootRule{{Label: "far", Behaviour: Behaviour{Fails: Unreachable}}}})
	r.cfg.Address = loopback
	r.scripted.Serve = func(_ Program, env map[string]string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, env["CONTAINER_ID"]) })
	}
	id, far := r.run("a"), r.run("far")
	if page, _ := r.get(r.address(id)); page != id {
		t.Errorf("answers %q", page)
	}
	if _, answers := r.get(r.address(far)); answers {
		t.Error("the unreachable answers")
	}
	url := r.address(id)
	r.must("DELETE", "/api/v0/instances/"+id+"/", nil)
	until(t, "ended", func() bool { return !r.Truth().Instances[0].Running })
	if _, answers := r.get(url); answers {
		t.Error("the destroyed answers")
	}
}

// noMachines fails to start anything.
type noMachines struct{}

func (noMachines) Start(Program) (Machine, error) { return nil, errors.New("no machine") }

func TestNew(t *testing.T) {
	t.Parallel()
	if _, err := New(Config{}); err == nil {
		t.Error("a market without a key")
	}
	if _, err := New(Config{Key: "k", Scenario: Scenario{Faults: []Fault{{Kind: "x"}}}}); err == nil {
		t.Error("a market with an unknown fault")
	}
	s, err := New(Config{Key: "k", Machines: noMachines{}})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	s.Close()
}
