package client

import (
	"net/http"
	"testing"

	"github.com/api-gpu/api-gpu"
)

func TestGPUs(t *testing.T) {
	t.Parallel()
	var asked []string
	c := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.RequestURI())
		switch {
		case r.Method == http.MethodGet:
			writeJSON(w, http.StatusOK, apigpu.GPUs{Fleet: "us", Data: []apigpu.GPU{{ID: "ag1.us.x", CostUSD: 0.000000001}}, Plan: &apigpu.GPUPlan{Nothing: "no job waits"}})
		case r.URL.Path == "/gpus/gone":
			writeProblem(w, http.StatusNotFound, apigpu.GPUNotFound)
		default:
			writeJSON(w, http.StatusOK, apigpu.GPUsEnded{Message: "done"})
		}
	})
	all, err := c.GPUs(t.Context(), false)
	if err != nil || all.Fleet != "us" || all.Data[0].CostUSD != 1e-9 {
		t.Errorf("%+v, %v", all, err)
	}
	if all, err := c.GPUs(t.Context(), true); err != nil || all.Plan.Nothing == "" {
		t.Errorf("%+v, %v", all, err)
	}
	for _, end := range []func() (apigpu.GPUsEnded, error){
		func() (apigpu.GPUsEnded, error) { return c.EndGPU(t.Context(), "http://gpu/x") },
		func() (apigpu.GPUsEnded, error) { return c.EndGPUs(t.Context()) },
	} {
		if ended, err := end(); err != nil || ended.Message != "done" {
			t.Errorf("%+v, %v", ended, err)
		}
	}
	_, err = c.EndGPU(t.Context(), "gone")
	wantCode(t, err, apigpu.GPUNotFound)
	_, err = c.EndGPU(t.Context(), "") // must not be taken for all of them
	wantCode(t, err, apigpu.InvalidRequest)
	want := []string{"GET /gpus", "GET /gpus?plan=true", "DELETE /gpus/http:%2F%2Fgpu%2Fx", "DELETE /gpus", "DELETE /gpus/gone"}
	if len(asked) != len(want) {
		t.Fatalf("asked %q", asked)
	}
	for i := range want {
		if asked[i] != want[i] {
			t.Errorf("asked %q, want %q", asked[i], want[i])
		}
	}
}
