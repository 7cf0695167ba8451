package doctor

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
)

// isTLS tells whether a connection failed for its certificate.
func isTLS(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return true
	}
	_, ok := errors.AsType[x509.HostnameError](err)
	return ok
}
