// Package link is the way between an orchestrator and one worker: credentials
// and the key of the TLS link, all derived from one secret and the worker's
// label, so that nothing about a worker need be stored and an adopted one can
// be addressed.
package link

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// Credentials let an orchestrator speak to one worker. They are worth nothing
// elsewhere, and nothing once that worker is gone.
type Credentials struct {
	Token string // header X-Session-Token
	Key   string // header X-API-Key
}

// Derive returns the credentials of the worker with this label: HKDF-SHA256
// (RFC 5869) of the fleet's root secret, one info string a purpose.
func Derive(root []byte, label string) (Credentials, error) {
	token, err := derive(root, "api-gpu worker token "+label)
	if err != nil {
		return Credentials{}, err
	}
	key, err := derive(root, "api-gpu worker key "+label)
	if err != nil {
		return Credentials{}, err
	}
	return Credentials{Token: token, Key: key}, nil
}

// Subkey derives a secret of the orchestrator's own for one purpose, such as
// the signing of result links.
func Subkey(root []byte, purpose string) ([]byte, error) {
	return hkdf.Key(sha256.New, root, nil, "api-gpu "+purpose, sha256.Size)
}

func derive(root []byte, info string) (string, error) {
	k, err := hkdf.Key(sha256.New, root, nil, info, sha256.Size)
	if err != nil {
		return "", fmt.Errorf("derive %q: %w", info, err)
	}
	return hex.EncodeToString(k), nil
}
