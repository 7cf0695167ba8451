package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/db"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// planned runs orchestrator plan and reads its JSON.
func planned(t *testing.T, args []string) apigpu.GPUs {
	t.Helper()
	var out bytes.Buffer
	if err := run(t.Context(), append([]string{"plan", "--json"}, args...), &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	var g apigpu.GPUs
	if err := json.Unmarshal(out.Bytes(), &g); err != nil || g.Plan == nil {
		t.Fatalf("%v in %s", err, &out)
	}
	return g
}

// The plan is told beside a server that serves, and nothing of it is done.
func TestPlan(t *testing.T) {
	t.Parallel()
	sim, url := market(t, instances(aged("them", time.Hour), "notebook"))
	dir := t.TempDir()
	rent := args(dir, "--provider=vast", "--vast-api-key=account-key", "--vast-api-url="+url, "--vast-worker-image=example.invalid/worker:1", "--fleet=us", "--shutdown=keep")

	if err := run(t.Context(), append([]string{"plan"}, rent...), io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), "there is no database yet") {
		t.Errorf("before there is a database: %v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	log := newLogLines()
	done := make(chan error, 1)
	go func() { done <- run(ctx, rent, io.Discard, log) }()
	address := log.find(t, `listening address=(\S+)`)
	log.find(t, `(fleet lease held)`)
	g := planned(t, rent)
	if len(g.Plan.Actions) != 0 || g.Plan.Nothing != "no job waits" || g.Fleet != "us" || g.Role != "observer" {
		t.Errorf("beside a server: %+v", g)
	}
	if len(g.Foreign) != 1 || g.Foreign[0].Fleet != "them" || !strings.HasSuffix(g.Foreign[0].Sweep, "orchestrator sweep --fleet=them") {
		t.Errorf("foreign: %+v", g.Foreign)
	}
	resp, err := http.Get("http://" + address + "/gpus?plan=1")
	if err != nil {
		t.Fatal(err)
	}
	var served apigpu.GPUs
	if err := json.NewDecoder(resp.Body).Decode(&served); err != nil || served.Role != "leader" || served.Plan == nil {
		t.Errorf("the server says %+v, %v", served, err)
	}
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}

	waits(t, dir)
	g = planned(t, rent)
	if len(g.Plan.Actions) != 1 || g.Plan.Actions[0].Kind != "rent" || len(g.Plan.Actions[0].Offers) == 0 || g.Plan.Actions[0].Offers[0].HourlyUSD <= 0 || g.Summary.WaitingJobs != 1 {
		t.Errorf("with a job that waits: %+v", g.Plan)
	}
	var text bytes.Buffer
	if err := run(t.Context(), append([]string{"plan"}, rent...), &text, io.Discard); err != nil {
		t.Fatal(err)
	}
	wantLines(t, text.String(), `No machines\.`, `rent, because `, `offer \d+ +RTX`, `Not of this fleet, and not touched: \d+ \(ag1\.them\.`)
	if n := len(sim.Calls("create")) + len(sim.Calls("destroy")); n != 0 || len(sim.Truth().Alive("")) != 2 {
		t.Errorf("%d calls did something", n)
	}
}

// waits puts a job into the queue of a server that is stopped.
func waits(t *testing.T, dir string) {
	t.Helper()
	d, err := db.Open(t.Context(), "sqlite:"+filepath.Join(dir, "db"), db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := queue.New(d, nil).Submit(t.Context(), queue.Draft{Subtitle: []byte("1"), WaitFor: time.Hour, RunFor: time.Hour, KeepFor: time.Hour}); err != nil {
		t.Fatal(err)
	}
}

// What a machine costs at most, if its server dies now, is no less than the
// marketplace asks for it until then.
func TestWorstCaseHolds(t *testing.T) {
	t.Parallel()
	sim, url := market(t, `{"credit_usd": 10}`)
	ctx, stop := context.WithCancel(t.Context())
	log := newLogLines()
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, args(t.TempDir(), "--provider=vast", "--vast-api-key=account-key", "--vast-api-url="+url,
			"--vast-worker-image=example.invalid/worker:1", "--shutdown=keep"), io.Discard, log)
	}()
	address := log.find(t, `listening address=(\S+)`)
	body := `{"url_video":"http://video.invalid/v.mp4","srt":"1\n00:00:00,000 --> 00:00:01,000\nHi\n","wait":0}`
	resp, err := http.Post("http://"+address+"/video/caption", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	log.find(t, `(msg=renting)`)
	var one apigpu.GPU
	for late := time.Now().Add(time.Minute); one.ProviderID == "" && time.Now().Before(late); {
		resp, err := http.Get("http://" + address + "/gpus")
		if err != nil {
			t.Fatal(err)
		}
		var all apigpu.GPUs
		err = json.NewDecoder(resp.Body).Decode(&all)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if len(all.Data) > 0 {
			one = all.Data[0]
		}
		time.Sleep(20 * time.Millisecond)
	}
	stop() // as good as a death: nobody speaks to the machine again
	if err := <-done; err != nil {
		t.Error(err)
	}
	http.DefaultClient.CloseIdleConnections()
	if !one.Unprotected || one.EndsBy == nil || one.WorstUSD <= 0 || one.WorstUSD < one.CostUSD {
		t.Fatalf("%+v", one)
	}
	sim.Advance(one.EndsBy.Sub(sim.Now()))
	for _, i := range sim.Truth().Instances {
		if bill := apigpu.Nanodollars(int64(i.Total)); bill <= 0 || bill > one.WorstUSD {
			t.Errorf("until %s it cost %v, and at most %v was said", one.EndsBy, bill, one.WorstUSD)
		}
	}
}
