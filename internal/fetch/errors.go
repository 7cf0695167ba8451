package fetch

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"

	"code.dny.dev/ssrf"

	"github.com/api-gpu/api-gpu"
)

// ErrNoRange is in the chain of an error when the source cannot be read from
// an offset: it ignores Range, or answers it with something else.
var ErrNoRange = fmt.Errorf("ranges are not supported: %w", errFinal)

// ErrChanged is in the chain when the file was replaced while it was read.
var ErrChanged = fmt.Errorf("the file changed: %w", errFinal)

var (
	// errFinal marks faults that asking again does not mend.
	errFinal = errors.New("final")
	errIdle  = errors.New("no byte came for too long")
	errSlow  = errors.New("the bytes come too slowly")
	errWhole = errors.New("the whole download took too long")
)

// statusError is an answer that is not a file.
type statusError struct {
	status     int
	retryAfter time.Duration // what the server asks for; 0 if nothing
}

func (e *statusError) Error() string { return "status " + strconv.Itoa(e.status) }

// temporary reports whether the server may think otherwise in a moment.
func (e *statusError) temporary() bool {
	switch e.status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return e.status >= 500
}

// badStatus makes the error of an answer that is not a file.
func badStatus(host string, resp *http.Response) error {
	cause := &statusError{status: resp.StatusCode}
	// The other form, a date, depends on two clocks; our own backoff does.
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		cause.retryAfter = time.Duration(min(s, 3600)) * time.Second
	}
	e := apigpu.E(apigpu.SourceUnreachable, cause, "%s answered %d.", host, resp.StatusCode)
	// A client that obeys this must not ask for a dead link for ever.
	e.Retryable = cause.temporary()
	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		e = e.WithHint("The file is not public, or its link has expired: make it public, send the headers that open it, or use a fresh link.")
	case http.StatusNotFound, http.StatusGone:
		e = e.WithHint("Open the address in a private browser window: it must give the file itself.")
	}
	return e
}

// explain turns what went wrong on the way to host into an error for a
// stranger. The message names the host as the user wrote it and never where
// it resolved to. The end of ctx comes back as it is.
func explain(ctx context.Context, host string, err error) error {
	if cause := context.Cause(ctx); cause != nil && cause != errWhole {
		return fmt.Errorf("fetch from %s: %w", host, cause)
	} else if cause == errWhole {
		err = errWhole
	}
	if _, ok := errors.AsType[*apigpu.Error](err); ok {
		return err
	}
	for _, prohibited := range []error{ssrf.ErrProhibitedIP, ssrf.ErrProhibitedNetwork, ssrf.ErrProhibitedPort, ssrf.ErrInvalidHostPort} {
		if errors.Is(err, prohibited) {
			return apigpu.E(apigpu.BlockedAddress, err, "%s leads into a private network.", host).
				WithHint("If that is meant, the operator adds %s to ALLOW_PRIVATE_HOSTS.", host)
		}
	}
	return apigpu.E(apigpu.SourceUnreachable, err, "%s %s.", host, symptom(err))
}

// symptom says in words what err means.
func symptom(err error) string {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		if dns.IsNotFound {
			return "is not a known host name"
		}
		return "could not be looked up"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "has a certificate that is not trusted"
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return "does not speak https there"
	}
	timeout, isNet := errors.AsType[net.Error](err)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused the connection"
	case errors.Is(err, errIdle):
		return "stopped sending"
	case errors.Is(err, errSlow):
		return "sends too slowly"
	case errors.Is(err, errWhole), isNet && timeout.Timeout():
		return "did not answer in time"
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.EOF):
		return "broke off the connection"
	}
	return "could not be read"
}

// transient reports whether asking again may help.
func transient(err error) bool {
	if apigpu.CodeOf(err) != apigpu.SourceUnreachable || errors.Is(err, errFinal) || errors.Is(err, errWhole) {
		return false
	}
	if status, ok := errors.AsType[*statusError](err); ok {
		return status.temporary()
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return !dns.IsNotFound
	}
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	return !untrusted
}
