package vastsim

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"time"
)

// routeControl routes what Vast.ai does not have.
//
//	GET    /sim/truth            what lives, what it cost, which rules were broken
//	GET    /sim/calls?name=      the calls of the API, all or those of one name
//	POST   /sim/scenario         apply a Scenario
//	DELETE /sim/faults           forget the faults that have not happened
//	POST   /sim/instances/{id}   do a Deed to an instance
//	POST   /sim/advance          move the time ahead: {"by":"20m"}
//	GET    /sim/logs/{name}      a log that was asked for by the API
func (s *Sim) routeControl() {
	s.control = http.NewServeMux()
	s.control.HandleFunc("GET /sim/truth", func(w http.ResponseWriter, _ *http.Request) { writeControl(w, s.Truth()) })
	s.control.HandleFunc("GET /sim/calls", func(w http.ResponseWriter, r *http.Request) { writeControl(w, s.Calls(r.URL.Query()["name"]...)) })
	s.control.HandleFunc("GET /sim/logs/{name}", s.serveLog)
	s.control.HandleFunc("DELETE /sim/faults", func(w http.ResponseWriter, _ *http.Request) {
		s.clearFaults()
		w.WriteHeader(http.StatusNoContent)
	})
	control(s, "POST /sim/scenario", func(_ *http.Request, sc Scenario) error { return s.Apply(sc) })
	control(s, "POST /sim/instances/{id}", func(r *http.Request, d Deed) error {
		id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
		if err != nil {
			return err
		}
		return s.Do(id, d)
	})
	control(s, "POST /sim/advance", func(_ *http.Request, a struct {
		By Duration `json:"by"`
	}) error {
		s.Advance(time.Duration(a.By))
		return nil
	})
}

// control routes a command whose body is a T. Whatever is wrong is the
// sender's mistake: 400 and a line of text.
func control[T any](s *Sim, pattern string, do func(*http.Request, T) error) {
	s.control.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		var command T
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err == nil {
			err = readStrict(body, &command)
		}
		if err == nil {
			err = do(r, command)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
}

func writeControl(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(v) // the client has left, if anything
}
