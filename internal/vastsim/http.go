package vastsim

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxBody bounds what is read of a request.
const maxBody = 1 << 20

// request is a call of the API that has passed its door.
type request struct {
	http  *http.Request
	body  []byte
	id    int64
	own   *instance // whose key it is; nil for the account's
	fault *Fault    // to be done within the call
	note  *Call
}

// reply is an answer. text takes the place of body where it is set.
type reply struct {
	status int
	body   any
	text   string
	html   bool
}

func ok(body row) reply { return reply{status: http.StatusOK, body: body} }

// failure is the envelope of errors.
func failure(status int, code, msg string) reply {
	return reply{status: status, body: row{"success": false, "error": code, "msg": msg}}
}

func invalidArgs(msg string) reply { return failure(http.StatusBadRequest, "invalid_args", msg) }

// blames tells whether an answer says that the call itself was wrong.
func (r reply) blames() (msg string, is bool) {
	body, _ := r.body.(row)
	code, _ := body["error"].(string)
	msg, _ = body["msg"].(string)
	_, isOffer := body["ask_id"] // which is gone, whatever the word for it
	wrong := []string{"invalid_args", "invalid_request", "invalid_price", "invalid_token", "label_too_long"}
	return msg, r.status == http.StatusBadRequest && slices.Contains(wrong, code) && !isOffer
}

// errorPage is what a proxy in front of the service answers.
func errorPage(status int) reply {
	return reply{status: status, html: true, text: fmt.Sprintf(
		"<html><head><title>%d %s</title></head><body><h1>%d</h1>cloudflare</body></html>", status, http.StatusText(status), status)}
}

func (r reply) write(w http.ResponseWriter) {
	contentType, text := "text/plain; charset=utf-8", []byte(r.text)
	switch {
	case r.html:
		contentType = "text/html; charset=utf-8"
	case r.text == "":
		contentType = "application/json"
		var err error
		if text, err = json.Marshal(r.body); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(r.status)
	_, _ = w.Write(text)
}

// endpoint is a call of the API.
type endpoint struct {
	// name is the word for it in faults and in the log.
	name    string
	pattern string
	// interval is the least time between two calls of one identity.
	interval time.Duration
	// open calls need no key, and own may be called with an instance's.
	open, own bool
	run       func(*request) reply
}

// endpoints are all calls, with the least intervals that are documented.
func (s *Sim) endpoints() []endpoint {
	const ms = time.Millisecond
	return []endpoint{
		{"search", "POST /api/v0/bundles/{$}", 2000 * ms, true, false, s.searchPost},
		{"search_get", "GET /api/v0/bundles/{$}", 800 * ms, true, false, s.searchGet},
		{"search_put", "PUT /api/v0/search/asks/{$}", 2000 * ms, true, false, s.searchPut},
		{"gpu_names", "GET /api/v0/gpu_names/unique/{$}", 0, true, false, s.gpuNames},
		{"create", "PUT /api/v0/asks/{id}/{$}", 4500 * ms, false, false, s.create},
		{"list", "GET /api/v1/instances/{$}", 1000 * ms, false, false, s.list},
		{"list_v0", "GET /api/v0/instances/{$}", 20_000 * ms, false, false, s.listV0},
		{"list_lite", "GET /api/v1/instances/lite/{$}", 0, false, false, s.listLite},
		{"show", "GET /api/v0/instances/{id}/{$}", 2000 * ms, false, true, s.show},
		{"destroy", "DELETE /api/v0/instances/{id}/{$}", 3000 * ms, false, true, s.destroy},
		{"destroy_many", "DELETE /api/v0/instances/{$}", 3000 * ms, false, false, s.destroyMany},
		{"change", "PUT /api/v0/instances/{id}/{$}", 1000 * ms, false, true, s.change},
		{"change_many", "PUT /api/v0/instances/{$}", 4000 * ms, false, false, s.changeMany},
		{"create_many", "POST /api/v0/asks/bulk/{$}", 4500 * ms, false, false, s.createMany},
		{"reboot", "PUT /api/v0/instances/reboot/{id}/{$}", 1000 * ms, false, false, s.reboot},
		{"recycle", "PUT /api/v0/instances/recycle/{id}/{$}", 1000 * ms, false, false, s.recycle},
		{"logs", "PUT /api/v0/instances/request_logs/{id}/{$}", 0, false, false, s.requestLogs},
		{"user", "GET /api/v0/users/current/{$}", 0, false, false, s.user},
		{"spend_rate", "GET /api/v0/users/spend-rate/{$}", 2000 * ms, false, false, s.spendRate},
		{"charges", "GET /api/v0/charges/{$}", 1000 * ms, false, false, s.charges},
		{"invoices", "GET /api/v1/invoices/{$}", 3000 * ms, false, false, s.invoices},
	}
}

func (s *Sim) routeAPI() {
	s.api = http.NewServeMux()
	for _, e := range s.endpoints() {
		s.api.HandleFunc(e.pattern, func(w http.ResponseWriter, r *http.Request) { s.serve(e, w, r) })
	}
	s.api.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { s.stray(w, r) })
}

// ServeHTTP answers the API, and what tests ask under /sim/.
func (s *Sim) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasPrefix(r.URL.Path, "/sim/"):
		s.control.ServeHTTP(w, r)
	case !strings.HasSuffix(r.URL.Path, "/"):
		s.stray(w, r)
	default:
		s.api.ServeHTTP(w, r)
	}
}

// stray answers what is no call of the API. It is a page and not the
// envelope, so that nobody takes it for an instance that is gone.
func (s *Sim) stray(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.step()
	note := s.note("stray", r)
	rule := UnknownCall
	switch {
	case !strings.HasSuffix(r.URL.Path, "/"):
		rule = NoTrailingSlash
	case s.hasOtherVersion(r):
		rule = WrongVersion
	}
	s.breach(rule, note, r.Method+" "+r.URL.Path)
	note.Status = http.StatusNotFound
	s.record(note)
	errorPage(http.StatusNotFound).write(w)
}

// hasOtherVersion tells whether the API has this call, under the version that
// was not asked for: each call has but one.
func (s *Sim) hasOtherVersion(r *http.Request) bool {
	swapped := strings.NewReplacer("/v0/", "/v1/", "/v1/", "/v0/").Replace(r.URL.Path)
	_, pattern := s.api.Handler(&http.Request{Method: r.Method, Host: r.Host, URL: &url.URL{Path: swapped}})
	return swapped != r.URL.Path && pattern != "/"
}

// serve takes a call through the door, lets it act, and answers, unless a
// fault does otherwise.
func (s *Sim) serve(e endpoint, w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		errorPage(http.StatusRequestEntityTooLarge).write(w)
		return
	}
	answer, end := s.act(e, r, body)
	if end == nil {
		answer.write(w)
		return
	}
	end.lose(r.Context(), s.closed, w, answer)
}

// act does what a call does. A fault that is returned loses the answer.
func (s *Sim) act(e endpoint, r *http.Request, body []byte) (reply, *Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.step()
	c := &request{http: r, body: body, note: s.note(e.name, r)}
	c.note.Label = labelOf(body)
	defer func() { s.record(c.note) }()
	if r.URL.Query().Has("api_key") {
		s.breach(KeyInQuery, c.note, "keys in addresses end up in logs")
	}
	answered := func(a reply) reply {
		c.note.Status = a.status
		if msg, malformed := a.blames(); malformed {
			s.breach(Malformed, c.note, msg)
		}
		return a
	}
	if text := r.PathValue("id"); text != "" {
		var err error
		if c.id, err = strconv.ParseInt(text, 10, 64); err != nil {
			return answered(invalidArgs("Invalid id: " + text)), nil
		}
		c.note.ID = c.id
		if i := s.find(c.id); i != nil && e.name != "create" {
			c.note.Label = i.label
		}
	}
	f := s.fault(c.note)
	if f != nil {
		c.note.Fault = f.Kind
		if f.losesAnswer() && !f.After {
			c.note.Status = f.seen(0)
			return reply{}, f
		}
		c.fault = f
	}
	if refusal := s.authorize(e, c); refusal != nil {
		return answered(*refusal), nil
	}
	if refusal := s.tooSoon(e, c); refusal != nil {
		return answered(*refusal), nil
	}
	answer := answered(e.run(c))
	if f != nil && f.losesAnswer() {
		c.note.Status = f.seen(answer.status)
		return answer, f
	}
	return answer, nil
}

// labelOf is the label in the body of a call, for the log.
func labelOf(body []byte) string {
	var b struct {
		Label string `json:"label"`
	}
	_ = json.Unmarshal(body, &b)
	return b.Label
}

// bearer is the key of a request.
func bearer(r *http.Request) string {
	if key, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); found {
		return strings.TrimSpace(key)
	}
	return r.URL.Query().Get("api_key")
}

// authorize returns the refusal of a call that may not be made.
func (s *Sim) authorize(e endpoint, c *request) *reply {
	refuse := func(status int, msg string) *reply {
		c.note.Outcome = msg
		r := failure(status, "auth_error", msg)
		return &r
	}
	key := bearer(c.http)
	switch {
	case key == s.cfg.Key || e.open && key == "":
		return nil
	case key == "":
		return refuse(http.StatusForbidden, "This action requires login.")
	}
	for _, i := range s.instances {
		if i.key != key {
			continue
		}
		switch {
		case !i.destroyed.IsZero(): // the key went with its instance
			return refuse(http.StatusUnauthorized, "Invalid user key")
		case !e.own || c.id != i.id:
			if c.id != i.id && e.own {
				s.breach(ForeignTouched, c.note, fmt.Sprintf("the key of instance %d was used for %d", i.id, c.id))
			}
			return refuse(http.StatusForbidden, "This key is not allowed to do that.")
		}
		c.own = i
		return nil
	}
	return refuse(http.StatusNotFound, "Invalid user key")
}

// tooSoon returns the refusal of a call that came before its time. Time
// counts from the last call that was let through.
func (s *Sim) tooSoon(e endpoint, c *request) *reply {
	least := time.Duration(float64(e.interval) * s.intervals)
	if least <= 0 {
		return nil
	}
	who := e.name + " " + bearer(c.http)
	if before, called := s.last[who]; called && s.now.Sub(before) < least {
		s.breach(TooOften, c.note, fmt.Sprintf("%v after the one before; %v is the least", s.now.Sub(before), least))
		c.note.Outcome = "too often"
		r := s.limited(least)
		return &r
	}
	s.last[who] = s.now
	return nil
}

// limited is the answer 429, in one of the forms that were seen: text,
// detail or json. All of them take turns when none is chosen.
func (s *Sim) limited(least time.Duration) reply {
	forms := []string{"text", "detail", "json"}
	form := s.limitBody
	if form == "" {
		form = forms[s.refusals%len(forms)]
	}
	s.refusals++
	seconds := strconv.FormatFloat(least.Seconds(), 'f', -1, 64)
	if !strings.Contains(seconds, ".") {
		seconds += ".0"
	}
	const status = http.StatusTooManyRequests
	switch form {
	case "detail":
		return reply{status: status, body: row{"detail": "API requests too frequent endpoint threshold=" + seconds}}
	case "json":
		return failure(status, "rate_limit_exceeded", "API requests too frequent: endpoint threshold="+seconds)
	}
	return reply{status: status, text: "API requests too frequent: endpoint threshold=" + seconds}
}
