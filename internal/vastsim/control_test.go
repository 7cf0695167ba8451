package vastsim

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestControl(t *testing.T) {
	t.Parallel()
	r := newRig(t, Scenario{})
	post := func(path, body string, status int) string {
		t.Helper()
		a := r.as("", "POST", path, body)
		if a.status != status {
			t.Errorf("%s %s: %d %s", path, body, a.status, a.text)
		}
		return a.text
	}
	post("/sim/scenario", `{"credit_usd":3,"faults":[{"kind":"status"}],"boots":[{"fails":"never","label":"b"}],"timing":{"pull":"1h"}}`, 204)
	if a := r.as("", "DELETE", "/sim/faults", nil); a.status != 204 {
		t.Errorf("faults: %d", a.status)
	}
	id := r.run("a")
	if s := r.status(id); s != "loading" {
		t.Errorf("a slow pull: %v", s)
	}
	post("/sim/advance", `{"by":"1h"}`, 204)
	post("/sim/instances/"+id, `{"do":"exit"}`, 204)
	var truth Truth
	if err := json.Unmarshal([]byte(r.as("", "GET", "/sim/truth", nil).text), &truth); err != nil {
		t.Fatal(err)
	}
	if i := truth.Instances[0]; len(truth.Instances) != 1 || i.State != "exited" || !i.Alive || i.Total != truth.Spent || i.GPUSeconds == 0 {
		t.Errorf("truth: %+v", truth)
	}
	var calls []Call
	if err := json.Unmarshal([]byte(r.as("", "GET", "/sim/calls?name=create", nil).text), &calls); err != nil {
		t.Fatal(err)
	}
	if len(calls) != 1 || calls[0].Label != "a" || calls[0].Method != "PUT" || calls[0].Status != 200 || calls[0].Outcome != "created" || number(calls[0].ID) != id {
		t.Errorf("calls: %+v", calls)
	}
	for _, c := range []struct{ path, body, has string }{
		{"/sim/scenario", `{"credit":3}`, "credit"},
		{"/sim/scenario", `{"offers":[{"gpu":"x"}]}`, "gpu"},
		{"/sim/scenario", `{"offers":[{"gpu_name":""}]}`, "no GPU"},
		{"/sim/scenario", `{"faults":[{"kind":"bad luck"}]}`, "bad luck"},
		{"/sim/scenario", `{"faults":[{"kind":"status","status":7}]}`, "out of range"},
		{"/sim/scenario", `{"boots":[{"fails":"badly"}]}`, "badly"},
		{"/sim/scenario", `{"boots":[{"then":"dance"}]}`, "dance"},
		{"/sim/scenario", `{"events":[{"do":"dance"}]}`, "dance"},
		{"/sim/scenario", `{"limit_body":"xml"}`, "xml"},
		{"/sim/scenario", `{"gone_form":"200"}`, "200"},
		{"/sim/scenario", `{} {}`, "follows"},
		{"/sim/scenario", `{"timing":{"pull":3}}`, "pull"},
		{"/sim/instances/x", `{"do":"exit"}`, "x"},
		{"/sim/instances/1", `{"do":"exit"}`, "no instance 1"},
		{"/sim/advance", `{"by":"soon"}`, "soon"},
	} {
		if text := post(c.path, c.body, 400); !strings.Contains(text, c.has) {
			t.Errorf("%s %s: %s", c.path, c.body, text)
		}
	}
}

// Run lets machines boot while nobody calls.
func TestRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		started := make(chan time.Duration, 1)
		begun := time.Now()
		s, err := New(Config{Key: testKey, Machines: starter(func() { started <- time.Since(begun) }), Scenario: Scenario{CreditUSD: new(float64)}})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if err := s.Apply(Scenario{Boots: []BootRule{{Behaviour: Behaviour{Pull: Duration(20 * time.Minute)}}}}); err != nil {
			t.Fatal(err)
		}
		*s.cfg.Scenario.CreditUSD = 5
		if err := s.Apply(Scenario{CreditUSD: s.cfg.Scenario.CreditUSD}); err != nil {
			t.Fatal(err)
		}
		disk := 8.0
		s.mu.Lock()
		s.rent(order{Label: "a", Disk: &disk}, *s.offers[0], s.now)
		s.mu.Unlock()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.Run(ctx)
		}()
		if after := <-started; after < 20*time.Minute || after > 20*time.Minute+5*time.Second {
			t.Errorf("it ran after %v", after)
		}
		cancel()
		<-done
	})
}

// starter tells that something was started.
type starter func()

func (s starter) Start(p Program) (Machine, error) {
	s()
	return (&Scripted{}).Start(p)
}
