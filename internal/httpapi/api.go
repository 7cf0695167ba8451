package httpapi

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/api-gpu/api-gpu"
)

// Config says what an API serves and to whom. All fields are required unless
// their comment says otherwise.
type Config struct {
	Jobs Jobs
	// Guard stands before every path of the jobs API that needs a key, and
	// puts the caller into the context. Usually Gate.Require.
	Guard func(http.Handler) http.Handler
	// LinkSecret signs the links to results.
	LinkSecret []byte
	// PublicURL is the address under which clients reach this server; empty
	// to take it from each request.
	PublicURL string
	// TrustedProxies may say, by X-Forwarded headers, how the client asked.
	TrustedProxies []netip.Prefix
	// SyncWait is how long a request waits when its client does not say.
	SyncWait time.Duration
	// MaxUpload bounds an uploaded video, in bytes.
	MaxUpload int64
	// RateLimit is how many jobs a minute a key may ask for, but for the
	// admin's; 0 for any number.
	RateLimit int
	Title     string
	Version   string
	Log       *slog.Logger
	// Now is the clock.
	Now func() time.Time
}

// API is the jobs API as an http.Handler. Further routes may be added to its
// Mux and its OpenAPI before it serves.
type API struct {
	cfg    Config
	Mux    *http.ServeMux
	Huma   huma.API
	signer signer
	origin origin
	rate   *jobRate
	held   *held
	now    func() time.Time

	stopping context.Context
	stop     context.CancelFunc
}

// New builds the API and its OpenAPI document, served at /openapi.json.
func New(cfg Config) *API {
	useProblems()
	a := &API{
		cfg: cfg, Mux: http.NewServeMux(), signer: signer{cfg.LinkSecret}, now: cfg.Now,
		origin: origin{public: strings.TrimRight(cfg.PublicURL, "/"), trusted: cfg.TrustedProxies},
		rate:   newJobRate(cfg.RateLimit, cfg.Now), held: newHeld(),
	}
	a.stopping, a.stop = context.WithCancel(context.Background())
	a.Huma = humago.New(a.Mux, humaConfig(cfg.Title, cfg.Version))
	describeUnions(a.Huma.OpenAPI().Components.Schemas)
	a.routes()
	return a
}

// Stop ends all waits, so that a server can shut down: waiting requests are
// answered as if their wait had passed.
func (a *API) Stop() { a.stop() }

// routes adds the paths of the jobs API. Those whose bodies are large or
// whose answers have several shapes are plain handlers, described by hand.
func (a *API) routes() {
	guarded := func(pattern string, h http.HandlerFunc) { a.Mux.Handle(pattern, a.cfg.Guard(h)) }
	a.Mux.Handle("POST /video/caption", a.cfg.Guard(a.rate.limit(http.HandlerFunc(a.caption))))
	a.Mux.Handle("POST /video/caption/validate", a.cfg.Guard(a.rate.limit(http.HandlerFunc(a.validate))))
	a.Mux.Handle("POST /video/caption/preview", a.cfg.Guard(a.rate.limit(http.HandlerFunc(a.preview))))
	guarded("GET /jobs/{id}", a.job)
	guarded("GET /jobs/{id}/events", a.events)
	guarded("GET /jobs/{id}/video", a.video)
	guarded("GET /jobs/{id}/"+thumbnailName, a.thumbnail)
	guarded("POST /jobs/{id}", a.followed)
	a.Mux.HandleFunc("GET /files/{id}/{name}", a.file)

	huma.Register(a.Huma, a.guardedOperation(huma.Operation{
		OperationID: "list-jobs", Method: http.MethodGet, Path: "/jobs", Summary: "List jobs, newest first",
	}), a.list)
	huma.Register(a.Huma, a.guardedOperation(huma.Operation{
		OperationID: "cancel-job", Method: http.MethodPost, Path: "/jobs/{id}/cancel", Summary: "End a job",
		Errors: []int{http.StatusConflict},
	}), a.cancel)
	huma.Register(a.Huma, a.guardedOperation(huma.Operation{
		OperationID: "delete-job", Method: http.MethodDelete, Path: "/jobs/{id}", Summary: "Forget a job and its files",
		DefaultStatus: http.StatusNoContent, Errors: []int{http.StatusConflict},
	}), a.remove)
	a.describe()
}

// guardedOperation puts the guard before an operation.
func (a *API) guardedOperation(op huma.Operation) huma.Operation { return a.Operation(op, a.cfg.Guard) }

// Operation puts a guard of the caller's choice before a typed operation that
// is added to Huma.
func (a *API) Operation(op huma.Operation, guard func(http.Handler) http.Handler) huma.Operation {
	op.Security = []map[string][]string{{"key": {}}, {"bearer": {}}}
	op.Errors = append(op.Errors, http.StatusBadRequest, http.StatusUnauthorized, http.StatusNotFound)
	op.Middlewares = append(op.Middlewares, func(ctx huma.Context, next func(huma.Context)) {
		r, w := humago.Unwrap(ctx)
		guard(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			next(huma.WithContext(ctx, r.Context()))
		})).ServeHTTP(w, r)
	})
	return op
}

// maxPath bounds the path of a request, in bytes: the longest of ours, that
// of a result, has 150.
const maxPath = 1 << 10

// ServeHTTP answers a request; a fault of ours becomes a 500 and a line in
// the log.
func (a *API) ServeHTTP(writer http.ResponseWriter, r *http.Request) {
	w := &answerWriter{ResponseWriter: writer}
	defer func() {
		fault := recover()
		switch {
		case fault == nil:
			return
		case fault == http.ErrAbortHandler:
			panic(fault) // net/http cuts the connection, as was asked for
		}
		a.cfg.Log.ErrorContext(r.Context(), "request panicked", "method", r.Method, "path", r.URL.Path,
			"fault", fmt.Sprint(fault), "stack", string(debug.Stack()))
		if w.begun {
			panic(http.ErrAbortHandler) // half an answer must not look like a whole one
		}
		WriteError(w, apigpu.E(apigpu.Internal, nil, "Something went wrong on our side."))
	}()
	base := a.origin.base(r)
	secureHeaders(w.Header(), isSecure(base))
	r = r.WithContext(context.WithValue(r.Context(), baseKey{}, base))
	if len(r.URL.Path) > maxPath {
		WriteError(w, apigpu.E(apigpu.NotFound, nil, "There is nothing at %s.", echo(r.URL.Path)).WithHint("See /openapi.json."))
		return
	}
	if _, pattern := a.Mux.Handler(r); pattern == "" {
		a.unknown(w, r)
		return
	}
	a.Mux.ServeHTTP(w, r)
}

// unknown answers a path or method that the mux does not have, in our words.
func (a *API) unknown(w http.ResponseWriter, r *http.Request) {
	probe := &statusProbe{header: http.Header{}}
	a.Mux.ServeHTTP(probe, r)
	switch allow := probe.header.Get("Allow"); {
	case probe.status == http.StatusMethodNotAllowed:
		w.Header().Set("Allow", allow)
		WriteError(w, apigpu.E(apigpu.MethodNotAllowed, nil, "%s does not accept %s.", echo(r.URL.Path), echo(r.Method)).WithHint("Use %s.", allow))
	case probe.header.Get("Location") != "": // the mux cleans a path by a redirect
		w.Header().Set("Location", probe.header.Get("Location"))
		w.WriteHeader(probe.status)
	default:
		WriteError(w, apigpu.E(apigpu.NotFound, nil, "There is nothing at %s.", echo(r.URL.Path)).WithHint("See /openapi.json."))
	}
}

// statusProbe learns what the mux would have answered.
type statusProbe struct {
	header http.Header
	status int
}

func (p *statusProbe) Header() http.Header         { return p.header }
func (p *statusProbe) WriteHeader(status int)      { p.status = status }
func (p *statusProbe) Write(b []byte) (int, error) { return len(b), nil }

// fail answers with err and keeps its cause for the log.
func (a *API) fail(w http.ResponseWriter, r *http.Request, err error) {
	switch gone := r.Context().Err() != nil; {
	case gone && apigpu.CodeOf(err) == apigpu.Internal: // nothing of ours failed
		err = apigpu.E(apigpu.InvalidRequest, err, "The connection ended before the request was answered.")
	case !gone:
		logFault(r.Context(), a.cfg.Log, r, err)
	}
	// It is written in any case: a handler that writes nothing answers 200.
	WriteError(w, err)
}

// answerWriter remembers whether an answer has begun.
type answerWriter struct {
	http.ResponseWriter
	begun bool
}

func (w *answerWriter) WriteHeader(status int) {
	w.begun = true
	w.ResponseWriter.WriteHeader(status)
}

func (w *answerWriter) Write(b []byte) (int, error) {
	w.begun = true
	return w.ResponseWriter.Write(b)
}

// ReadFrom keeps the short way from a file to the connection (sendfile).
func (w *answerWriter) ReadFrom(r io.Reader) (int64, error) {
	w.begun = true
	return io.Copy(w.ResponseWriter, r)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *answerWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
