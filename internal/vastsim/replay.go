package vastsim

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/api-gpu/api-gpu/internal/transcript"
)

// replay makes the calls of a transcript against a market of its own. Its time
// is that of the transcript, and its machines do what those there did when
// they did.
type replay struct {
	sim   *Sim
	calls []transcript.Exchange
	at    time.Time
	lives []*livedLife
	// ids are those of the market, by those of the transcript; tokens likewise.
	ids    map[int64]int64
	tokens map[string]string
}

// replayKey is the account's.
const replayKey = "the account of the comparison"

// replayBegan is when the first call is made.
var replayBegan = time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC)

func newReplay(calls []transcript.Exchange) (*replay, error) {
	r := &replay{calls: calls, at: replayBegan, lives: livesOf(calls), ids: map[int64]int64{}, tokens: map[string]string{}}
	credit, intervals := 1000.0, 0.0
	sc := Scenario{CreditUSD: &credit, Intervals: &intervals, Timing: Timing{ListLag: 1, DestroyLag: 1, ChargeLag: 1}}
	for _, l := range r.lives {
		sc.Boots = append(sc.Boots, BootRule{Label: l.label, Behaviour: l.behaviour()})
		// Of several lives the last one's lags count: they are the market's.
		sc.Timing.ListLag, sc.Timing.DestroyLag = l.listLag(), max(1, Duration(l.lingers))
	}
	var err error
	r.sim, err = New(Config{Key: replayKey, Machines: &Scripted{}, Now: func() time.Time { return r.at }, Scenario: sc})
	return r, err
}

// moment is a time of the transcript.
func moment(seconds float64) time.Time { return replayBegan.Add(since(seconds)) }

func since(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }

// call makes one call, and returns what the market answers. It is false of a
// page that only the real list has.
func (r *replay) call(n int) (status int, body []byte, ok bool) {
	e := r.calls[n]
	r.at = moment(e.At)
	r.befall(e.At)
	query := url.Values{}
	for name, value := range e.Query {
		switch {
		case name == "after_token":
			if value = r.tokens[value]; value == "" {
				return 0, nil, false
			}
		case strings.HasSuffix(e.Path, "/charges/") && name == "select_filters":
			value = absoluteDays(value)
		}
		query.Set(name, value)
	}
	r.prepare(e)
	req, err := http.NewRequest(e.Method, "http://market"+strings.Replace(e.Path, "{id}", strconv.FormatInt(r.id(e), 10), 1), bytes.NewReader(e.Body))
	if err != nil {
		return 0, nil, false
	}
	req.URL.RawQuery = query.Encode()
	req.Header.Set("Authorization", "Bearer "+replayKey)
	w := &heard{header: http.Header{}}
	r.sim.ServeHTTP(w, req)
	r.learn(e, w.body.Bytes())
	return w.status, w.body.Bytes(), true
}

// id is what the market calls what a call is about: of an offer that it has
// not, any other.
func (r *replay) id(e transcript.Exchange) int64 {
	if id, known := r.ids[e.ID]; known || !strings.Contains(e.Path, "/asks/") {
		return id // 0 is nobody's
	}
	for _, o := range r.sim.offers {
		if o.Rentable && !o.rented && !o.Busy && o.DiskSpace > 100 {
			r.ids[e.ID] = o.ID
			return o.ID
		}
	}
	return 0
}

// prepare makes the market refuse an offer that the real one refused.
func (r *replay) prepare(e transcript.Exchange) {
	var said struct {
		Success *bool  `json:"success"`
		Error   string `json:"error"`
		Msg     string `json:"msg"`
	}
	if !strings.Contains(e.Path, "/asks/") || json.Unmarshal(e.Answer, &said) != nil || said.Success == nil || *said.Success {
		return
	}
	sc := Scenario{}
	switch text := said.Error + " " + said.Msg; {
	case e.Status == http.StatusOK:
		sc.Faults = []Fault{{Kind: CreateStopped}}
	case e.Status == http.StatusGone:
		for _, o := range r.sim.offers {
			if o.ID == r.id(e) {
				o.Busy = true
			}
		}
	case strings.Contains(text, "no_such_ask") || strings.Contains(text, "available"):
		form := "404"
		if e.Status == http.StatusBadRequest {
			form = "400"
		}
		sc.Faults, sc.GoneForm = []Fault{{Kind: CreateVanished}}, &form
	}
	_ = r.sim.Apply(sc) // it is well made
}

// learn notes which id and token of the market stand for which of the
// transcript's.
func (r *replay) learn(e transcript.Exchange, ours []byte) {
	type words struct {
		Contract int64  `json:"new_contract"`
		Token    string `json:"next_token"`
	}
	var real, sim words
	_, _ = json.Unmarshal(e.Answer, &real), json.Unmarshal(ours, &sim) // neither need be JSON
	if real.Contract != 0 && sim.Contract != 0 {
		r.ids[real.Contract] = sim.Contract
	}
	if real.Token != "" {
		r.tokens[real.Token] = sim.Token
	}
}

// befall does to the machines what befell those of the transcript until now.
func (r *replay) befall(now float64) {
	for _, l := range r.lives {
		for len(l.deeds) > 0 && l.deeds[0].at <= now {
			_ = r.sim.Do(r.ids[l.id], Deed{Do: l.deeds[0].do}) // one that is gone is gone
			l.deeds = l.deeds[1:]
		}
	}
}

func (r *replay) isReal(id int64) bool { _, ours := r.ids[id]; return ours }

func (r *replay) isOurs(id int64) bool {
	for _, sim := range r.ids {
		if sim == id {
			return true
		}
	}
	return false
}

// ownRows is an answer without the instances that no call of the transcript
// made: what others run looks as they please.
func (r *replay) ownRows(raw []byte, own func(id int64) bool) []byte {
	var answer map[string]json.RawMessage
	var rows []json.RawMessage
	if json.Unmarshal(raw, &answer) != nil || json.Unmarshal(answer["instances"], &rows) != nil || rows == nil {
		return raw
	}
	rows = slices.DeleteFunc(rows, func(row json.RawMessage) bool {
		var i struct {
			ID int64 `json:"id"`
		}
		return json.Unmarshal(row, &i) == nil && !own(i.ID)
	})
	less, err := json.Marshal(rows)
	if err != nil {
		return raw
	}
	answer["instances"] = less
	if without, err := json.Marshal(answer); err == nil {
		return without
	}
	return raw
}

// absoluteDays turns the days of a filter, which a transcript has as seconds
// since its first call, into times.
func absoluteDays(filter string) string {
	var f map[string]any
	if json.Unmarshal([]byte(filter), &f) != nil {
		return filter
	}
	days, _ := f["day"].(map[string]any)
	for op, at := range days {
		if seconds, ok := at.(float64); ok {
			days[op] = float64(replayBegan.Unix()) + seconds
		}
	}
	text, err := json.Marshal(f)
	if err != nil {
		return filter
	}
	return string(text)
}

// heard is what a handler answers.
type heard struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (h *heard) Header() http.Header { return h.header }

func (h *heard) WriteHeader(status int) {
	if h.status == 0 {
		h.status = status
	}
}

func (h *heard) Write(p []byte) (int, error) {
	h.WriteHeader(http.StatusOK)
	return h.body.Write(p)
}
