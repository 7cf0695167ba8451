package link

import (
	"crypto/ed25519"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// ErrPeer is the cause of a connection that was given up because whoever
// answered is not the worker that was meant: it has another key, or none.
var ErrPeer = errors.New("this is not the worker that was meant: it has another key")

// Seed derives what the worker with this label makes its TLS key of, as it
// stands in TLS_SEED: 32 bytes in hex. The orchestrator derives it again
// whenever it speaks to that worker.
func Seed(root []byte, label string) (string, error) {
	return derive(root, "api-gpu worker tls "+label)
}

// ServerConfig is the worker's side: TLS 1.3 with the key of this seed, in a
// certificate that it signs itself.
func ServerConfig(seed string) (*tls.Config, error) {
	key, err := keyOf(seed)
	if err != nil {
		return nil, err
	}
	certificate, err := selfSigned(key)
	if err != nil {
		return nil, err
	}
	c := base()
	c.Certificates = []tls.Certificate{{Certificate: [][]byte{certificate}, PrivateKey: key}}
	return c, nil
}

// ClientConfig is the orchestrator's side: TLS 1.3 with whoever proves to have
// the key of this seed, and with nobody else. Name, address, dates and issuer
// of the certificate mean nothing: a rented machine has no name, and its clock
// may be wrong.
func ClientConfig(seed string) (*tls.Config, error) {
	key, err := keyOf(seed)
	if err != nil {
		return nil, err
	}
	pin := key.Public().(ed25519.PublicKey)
	c := base()
	// Skipped is the check against authorities. VerifyConnection replaces it,
	// and is called for every connection; that the peer has the key's private
	// half is proven by the handshake itself.
	c.InsecureSkipVerify = true
	c.VerifyConnection = func(s tls.ConnectionState) error {
		if s.DidResume || len(s.PeerCertificates) == 0 {
			return ErrPeer
		}
		got, ok := s.PeerCertificates[0].PublicKey.(ed25519.PublicKey)
		if !ok || subtle.ConstantTimeCompare(got, pin) != 1 {
			return ErrPeer
		}
		return nil
	}
	return c, nil
}

// base is what both sides have in common.
//
// There is no HTTP/2: it would put the lease, the events and the chunks of a
// result on one connection, where each waits for the others' lost packets, and
// where a stalled video cannot be cut off by closing its connection.
func base() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, MaxVersion: tls.VersionTLS13,
		NextProtos: []string{"http/1.1"},
		// No session is taken up again: each connection proves the key.
		SessionTicketsDisabled: true,
	}
}

// keyOf reads a seed. The error does not repeat it: it is a secret.
func keyOf(seed string) (ed25519.PrivateKey, error) {
	raw, err := hex.DecodeString(seed)
	if err != nil || len(raw) != ed25519.SeedSize {
		return nil, fmt.Errorf("a seed is %d hex digits", 2*ed25519.SeedSize)
	}
	return ed25519.NewKeyFromSeed(raw), nil
}

// selfSigned returns the certificate of a key, the same one each time. It is
// good from 1970 on, whatever the host's clock says, until the time by which
// RFC 5280 (4.1.2.5) says that there is no end.
func selfSigned(key ed25519.PrivateKey) ([]byte, error) {
	der, err := x509.CreateCertificate(nil, &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "api-gpu worker"},
		NotBefore:    time.Unix(0, 0).UTC(),
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, &x509.Certificate{Subject: pkix.Name{CommonName: "api-gpu worker"}}, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make certificate: %w", err)
	}
	return der, nil
}
