package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/fetch"
	"github.com/api-gpu/api-gpu/internal/httpapi"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// once is the key of a submission, with the digest of what it asks for.
func (s *Jobs) once(ctx context.Context, sub httpapi.Submission) (queue.Once, error) {
	if sub.Key == "" {
		return queue.Once{}, nil
	}
	video := ""
	if sub.Upload != "" {
		var err error
		if video, err = s.digestOf(ctx, sub.Upload); err != nil {
			return queue.Once{}, fmt.Errorf("identify upload: %w", err)
		}
	}
	digest, err := digest(sub, video)
	return queue.Once{Key: sub.Key, Digest: digest}, err
}

// digestOf returns the SHA-256 of a file in the store. The store knows it
// nearly always: it may have lost what it noted.
func (s *Jobs) digestOf(ctx context.Context, key string) (string, error) {
	content, object, err := s.Blob.Open(ctx, key)
	if err != nil {
		return "", err
	}
	defer content.Close()
	if object.SHA256 != "" {
		return object.SHA256, nil
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, content); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// digest is the same for two submissions that ask for the same: the cleaned
// spec, the files by their content and addresses by their text, whatever form
// the request had. How the client waits is no part of it; whom to call is.
// uploaded is the SHA-256 of an uploaded video, or empty.
func digest(sub httpapi.Submission, uploaded string) (string, error) {
	subtitle := ""
	if sub.Subtitle != nil {
		sum := sha256.Sum256(sub.Subtitle)
		subtitle = hex.EncodeToString(sum[:])
	}
	var fonts []string
	for _, b := range sub.Fonts {
		sum := sha256.Sum256(b)
		fonts = append(fonts, hex.EncodeToString(sum[:]))
	}
	meaning, err := json.Marshal(struct { // maps are sorted
		Spec       apigpu.CaptionSpec
		Subtitle   string
		Video      string
		WebhookURL string
		Fonts      []string `json:",omitempty"` // as before there were any, where there are none
	}{sub.Spec, subtitle, uploaded, sub.WebhookURL, fonts})
	if err != nil {
		return "", fmt.Errorf("digest request: %w", err)
	}
	sum := sha256.Sum256(meaning)
	return hex.EncodeToString(sum[:]), nil
}

// checkWebhook refuses an address that could never be called.
func (s *Jobs) checkWebhook(address string) error {
	if address == "" {
		return nil
	}
	err := s.Fetch.CheckHost(address)
	if err == nil {
		return nil
	}
	e := apigpu.AsError(err).WithField("webhook_url")
	if fetch.Local(address) {
		return e.WithHint("%s If it came from n8n, n8n does not know its own address: set WEBHOOK_URL there.", e.Hint)
	}
	return e
}
