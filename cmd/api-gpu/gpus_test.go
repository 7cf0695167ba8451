package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/httpapi"
)

// steered is a server with one machine, that notes what it was asked to end.
func steered(t *testing.T) (server string, ended func() []string) {
	t.Helper()
	one := apigpu.GPU{ID: "ag1.us.a", State: "ready", Since: born, GPU: "RTX 4090", Jobs: []string{}, HourlyUSD: 0.37, CostUSD: 0.0185, WorstUSD: 0.05, Reason: "proved"}
	var calls []string
	mux := http.NewServeMux()
	mux.HandleFunc("GET /gpus", func(w http.ResponseWriter, r *http.Request) {
		all := apigpu.GPUs{Object: "list", Fleet: "us", Role: "leader", At: born, Data: []apigpu.GPU{one}}
		if r.URL.Query().Has("plan") {
			all.Plan = &apigpu.GPUPlan{Nothing: "no job waits"}
		}
		httpapi.WriteJSON(w, 200, all)
	})
	end := func(w http.ResponseWriter, r *http.Request) {
		calls = append(calls, r.URL.Path)
		if r.PathValue("id") == "gone" {
			httpapi.WriteError(w, apigpu.E(apigpu.GPUNotFound, nil, "There is no such machine, or it is gone."))
			return
		}
		one := one
		one.State = "destroying"
		httpapi.WriteJSON(w, 200, apigpu.GPUsEnded{Data: []apigpu.GPU{one}, Message: "Ending 1 machine."})
	}
	mux.HandleFunc("DELETE /gpus", end)
	mux.HandleFunc("DELETE /gpus/{id}", end)
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL, func() []string { return calls }
}

func TestGPUs(t *testing.T) {
	t.Parallel()
	server, _ := steered(t)
	table := `ID        STATE  SINCE  GPU       JOBS  PRICE      COST       AT MOST    REASON
ag1.us.a  ready  0 s    RTX 4090  0     $0.3700/h  $0.018500  $0.050000  proved

Fleet us: $0.0000/h now, $0.000000 today, $0.000000 reserved. If its server dies now: $0.000000 at most, for all of them.
`
	invoke(t.Context(), t, server, "", "gpus").want(t, result{stdout: table})
	invoke(t.Context(), t, server, "", "gpus", "--plan").want(t, result{stdout: table + "\nThe next round would:\n  rent nothing, because no job waits\n"})
	got := invoke(t.Context(), t, server, "", "gpus", "--json", "--plan")
	var all apigpu.GPUs
	if err := json.Unmarshal([]byte(got.stdout), &all); err != nil || got.code != 0 || all.Data[0].ID != "ag1.us.a" || all.Plan == nil {
		t.Errorf("code %d, %v\n%s", got.code, err, got.stdout)
	}
}

func TestGPUsDestroy(t *testing.T) {
	t.Parallel()
	const done = "ag1.us.a is destroying.\nEnding 1 machine.\n"
	const asks = "End ag1.us.a? Jobs that run there are queued again. [y/N] "
	for name, c := range map[string]struct {
		args, stdin string
		want        result
		ended       []string
	}{
		"one":          {"ag1.us.a --yes", "", result{stdout: done}, []string{"/gpus/ag1.us.a"}},
		"two":          {"-y a b", "", result{stdout: done + done}, []string{"/gpus/a", "/gpus/b"}},
		"all":          {"--all -y", "", result{stdout: done}, []string{"/gpus"}},
		"confirmed":    {"ag1.us.a", "y\n", result{stdout: done, stderr: asks}, []string{"/gpus/ag1.us.a"}},
		"not at all":   {"ag1.us.a", "\n", result{code: exitUsage, stderr: asks + "api-gpu: Nothing was ended.\n"}, nil},
		"nobody there": {"ag1.us.a", "", result{code: exitUsage, stderr: asks + "api-gpu: Nobody is there to confirm this.\n  Add --yes to end ag1.us.a.\n"}, nil},
		"neither":      {"--yes", "", result{code: exitUsage, stderr: "api-gpu: Name the machines to end, or --all.\n  See: api-gpu gpus\n"}, nil},
		"both":         {"--all a", "", result{code: exitUsage, stderr: "api-gpu: Name the machines to end, or --all.\n  See: api-gpu gpus\n"}, nil},
		"one is gone": {"-y gone b", "", result{code: exitFailed, stdout: done, stderr: "gone: There is no such machine, or it is gone. (gpu_not_found)\n" +
			"api-gpu: There is no such machine, or it is gone. (gpu_not_found)\n"}, []string{"/gpus/gone", "/gpus/b"}},
		"gone": {"gone -y", "", result{code: exitFailed, stderr: "api-gpu: There is no such machine, or it is gone. (gpu_not_found)\n"}, []string{"/gpus/gone"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, ended := steered(t)
			invoke(t.Context(), t, server, c.stdin, append([]string{"gpus", "destroy"}, strings.Fields(c.args)...)...).want(t, c.want)
			if got := ended(); !slices.Equal(got, c.ended) {
				t.Errorf("ended %q, want %q", got, c.ended)
			}
		})
	}
}
