package main

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/doctor"
)

const (
	// lookFor bounds one request of a doctor's.
	lookFor = 10 * time.Second
	// maxHealth bounds what is read of an answer, in bytes.
	maxHealth = 256 << 10
)

// look asks for what a health check answers. It follows the redirects of a
// proxy, but not with keys.
func look(ctx context.Context, address string, header http.Header, into any) (status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookFor)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, errors.New("the address cannot be used") // the cause repeats it
	}
	req.Header = header.Clone()
	if req.Header == nil {
		req.Header = http.Header{}
	}
	req.Header.Set("User-Agent", "api-gpu/"+apigpu.Version())
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, TLSHandshakeTimeout: lookFor, MaxResponseHeaderBytes: maxHealth,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
	}
	c := &http.Client{Transport: transport}
	if len(header) > 0 {
		c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	resp, err := c.Do(req)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok { // without the address, which holds a nonce
			err = wrapped.Err
		}
		if ctx.Err() != nil {
			err = errors.Join(doctor.ErrLate, err)
		}
		return 0, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxHealth))
	if err != nil {
		return 0, fmt.Errorf("read answer: %w", err)
	}
	_ = json.Unmarshal(raw, into) // whoever does not speak so is nobody of ours
	return resp.StatusCode, nil
}

// ourName begins the name by which every program of ours calls itself.
const ourName = "api-gpu"

// askPublic asks who answers at PUBLIC_URL, and for the proof that it is us.
func (p *patient) askPublic(ctx context.Context) (doctor.Public, error) {
	nonce := rand.Text()
	var said struct{ Service, Proof string }
	status, err := look(ctx, strings.TrimRight(p.cfg.PublicURL, "/")+"/health?nonce="+nonce, nil, &said)
	if err != nil {
		return doctor.Public{}, err
	}
	out := doctor.Public{Status: status, Provable: p.secret != nil}
	if strings.HasPrefix(said.Service, ourName) {
		out.Service = said.Service
	}
	if p.secret != nil {
		prove, err := healthProof(p.secret)
		if err != nil {
			return out, err
		}
		out.Proven = hmac.Equal([]byte(prove(nonce)), []byte(said.Proof))
	}
	return out, nil
}

// askStatic asks every worker of WORKER_URL.
func (p *patient) askStatic(ctx context.Context) ([]doctor.Worker, error) {
	list := make([]doctor.Worker, len(p.cfg.WorkerURL))
	var all sync.WaitGroup
	for n, address := range p.cfg.WorkerURL {
		all.Go(func() { list[n] = p.askWorker(ctx, strings.TrimRight(strings.TrimSpace(address), "/")) })
	}
	all.Wait()
	return list, nil
}

// askWorker asks one worker how it is. To whom it does not accept it says
// little.
func (p *patient) askWorker(ctx context.Context, address string) doctor.Worker {
	w := doctor.Worker{Name: address}
	if u, err := url.Parse(address); err == nil {
		w.Name = u.Redacted()
	}
	header := http.Header{"X-Session-Token": {p.cfg.WorkerToken}, "X-Api-Key": {p.cfg.WorkerKey}}
	var said struct {
		Service, Reason string
		Worker          *apigpu.WorkerInfo
	}
	status, err := look(ctx, address+"/health", header, &said)
	switch {
	case err != nil:
		w.Err = err
	case !strings.HasPrefix(said.Service, ourName):
		w.Err = fmt.Errorf("it answers %d, and not as a worker of api-gpu", status)
	case said.Worker != nil:
		w.Accepted, w.Reason, w.Info = true, said.Reason, *said.Worker
	}
	return w
}

// askLocal lets the worker program on this machine prove what it can do.
func (p *patient) askLocal(ctx context.Context) ([]doctor.Worker, error) {
	w := doctor.Worker{Name: "worker", Accepted: true}
	binary, err := p.cfg.workerBinary()
	if err != nil {
		return nil, err
	}
	if path, err := exec.LookPath(binary); err != nil {
		w.Name, w.Err = binary, errors.New("the program is not there, or may not be run")
		return []doctor.Worker{w}, nil
	} else if w.Name, err = filepath.Abs(path); err != nil {
		return nil, err
	}
	var stdout, stderr strings.Builder
	cmd := exec.CommandContext(ctx, w.Name, "selftest")
	cmd.Env, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = withoutSecrets(os.Environ()), &stdout, &stderr, time.Second
	if err := cmd.Run(); err != nil {
		w.Err = err
		if last := lastLine(stderr.String()); last != "" && ctx.Err() == nil {
			w.Err = errors.New(last)
		}
		return []doctor.Worker{w}, nil
	}
	if err := json.Unmarshal([]byte(stdout.String()), &w.Info); err != nil {
		w.Err = errors.New("its selftest says nothing that could be read")
	}
	return []doctor.Worker{w}, nil
}

// lastLine is the end of what a program said of its failure.
func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}
