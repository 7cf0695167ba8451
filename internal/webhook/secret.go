package webhook

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// prefix begins a secret (Standard Webhooks 1.0.0, "Signature scheme").
const prefix = "whsec_"

// Bounds of a secret in bytes, as the standard has them.
const (
	minSecret = 24
	maxSecret = 64
)

// Secrets sign webhooks. There are several while one takes the place of
// another: each signs, and a receiver accepts any.
type Secrets struct {
	texts   []string
	signers []*standardwebhooks.Webhook
}

// ParseSecrets reads WEBHOOK_SECRET: one or more of whsec_… in base64,
// separated by commas. The error does not repeat them.
func ParseSecrets(list string) (Secrets, error) {
	var s Secrets
	for text := range strings.SplitSeq(list, ",") {
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		encoded, ok := strings.CutPrefix(text, prefix)
		key, err := base64.StdEncoding.DecodeString(encoded)
		if !ok || err != nil || len(key) < minSecret || len(key) > maxSecret {
			return Secrets{}, fmt.Errorf("each secret must be whsec_ and %d to %d bytes in base64: make one with echo whsec_$(openssl rand -base64 32)", minSecret, maxSecret)
		}
		if err := s.add(key); err != nil {
			return Secrets{}, err
		}
	}
	if len(s.texts) == 0 {
		return Secrets{}, errors.New("there is no secret in it")
	}
	return s, nil
}

// KeySecret is the one secret of these bytes.
func KeySecret(key []byte) (Secrets, error) {
	var s Secrets
	return s, s.add(key)
}

func (s *Secrets) add(key []byte) error {
	signer, err := standardwebhooks.NewWebhookRaw(key)
	if err != nil {
		return err
	}
	s.texts = append(s.texts, prefix+base64.StdEncoding.EncodeToString(key))
	s.signers = append(s.signers, signer)
	return nil
}

// Texts returns the secrets as receivers are given them.
func (s Secrets) Texts() []string { return s.texts }

// sign returns the header webhook-signature: one signature a secret,
// separated by spaces.
func (s Secrets) sign(id string, at time.Time, body []byte) (string, error) {
	signatures := make([]string, len(s.signers))
	for i, signer := range s.signers {
		signature, err := signer.Sign(id, at, body)
		if err != nil {
			return "", err
		}
		signatures[i] = signature
	}
	return strings.Join(signatures, " "), nil
}
