package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/api-gpu/api-gpu"
)

const (
	// drawFor is how long a server may take for a preview: its turn, and nine
	// frames of a video far away.
	drawFor = 2 * time.Minute
	// maxPicture bounds a picture, in bytes.
	maxPicture = 64 << 20
)

// Preview draws what Caption would make, without a job: one frame, or nine. The
// video may be left out. PreviewUnavailable where the server has nothing that
// draws.
func (c *Client) Preview(ctx context.Context, r Request, ask apigpu.PreviewAsk) (apigpu.Preview, error) {
	k, done, err := captionCall(r, "video", "caption", "preview")
	if err != nil {
		return apigpu.Preview{}, err
	}
	defer done()
	k.silence, k.query = drawFor, previewQuery(ask)
	resp, err := c.send(ctx, k)
	if err != nil {
		return apigpu.Preview{}, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxPicture+1))
	switch {
	case err != nil:
		return apigpu.Preview{}, c.lost(ctx, err)
	case len(raw) > maxPicture || resp.Header.Get("Content-Type") != "image/png":
		return apigpu.Preview{}, apigpu.E(apigpu.Internal, ErrForeign, "The answer of %s is no picture.", c.host())
	}
	p := apigpu.Preview{PNG: raw, Background: apigpu.Background(resp.Header.Get("X-Preview-Background"))}
	if p.At, err = times(resp.Header.Get("X-Preview-Times")); err != nil {
		return apigpu.Preview{}, apigpu.E(apigpu.Internal, ErrForeign, "The answer of %s has times that are none.", c.host())
	}
	if codes := resp.Header.Get("X-Job-Warnings"); codes != "" {
		if err := json.Unmarshal([]byte(codes), &p.Warnings); err != nil {
			return apigpu.Preview{}, apigpu.E(apigpu.Internal, ErrForeign, "The answer of %s has warnings that are none.", c.host())
		}
	}
	return p, nil
}

func previewQuery(ask apigpu.PreviewAsk) url.Values {
	query := url.Values{}
	if ask.Sheet {
		query.Set("sheet", "true")
	}
	if ask.At != nil {
		query.Set("t", strconv.FormatFloat(*ask.At, 'f', -1, 64))
	}
	if ask.Width > 0 && ask.Height > 0 {
		query.Set("size", fmt.Sprintf("%dx%d", ask.Width, ask.Height))
	}
	return query
}

func times(list string) (at []float64, err error) {
	for word := range strings.SplitSeq(list, ",") {
		t, err := strconv.ParseFloat(strings.TrimSpace(word), 64)
		if err != nil {
			return nil, err
		}
		at = append(at, t)
	}
	return at, nil
}

// Styles asks what captions may look like: presets with their figures,
// positions, safe areas, animations and limits.
func (c *Client) Styles(ctx context.Context) (apigpu.Styles, error) {
	var s apigpu.Styles
	err := c.ask(ctx, call{method: http.MethodGet, path: []string{"styles"}}, &s)
	return s, err
}
