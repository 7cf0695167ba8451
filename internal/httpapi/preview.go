package httpapi

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/api-gpu/api-gpu"
)

// preview answers POST /video/caption/preview: the body of a job, and a picture
// of what it would make. It may leave the video out.
func (a *API) preview(w http.ResponseWriter, r *http.Request) {
	ctx, who := r.Context(), CallerOf(r.Context())
	ask, err := previewAsk(r)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	sub, _, err := a.readSubmission(w, r)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	defer a.cfg.Jobs.Discard(sub.Upload) // nothing takes it over
	absent := sub.Spec.URLVideo == "" && sub.Upload == ""
	if err := sub.Spec.Validate(absent || sub.Upload != "", sub.Subtitle != nil); err != nil {
		a.fail(w, r, err)
		return
	}
	sub.Subtitle, sub.Spec = inline(sub.Subtitle, sub.Spec)
	sub.WebhookURL = "" // there is nothing to tell of later
	p, err := a.cfg.Jobs.Preview(ctx, who, sub, ask)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "image/png")
	h.Set("Content-Length", strconv.Itoa(len(p.PNG)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Preview-Background", string(p.Background))
	h.Set("X-Preview-Times", timesWords(p.At))
	if len(p.Warnings) > 0 {
		codes, err := json.Marshal(p.Warnings)
		if err == nil {
			h.Set("X-Job-Warnings", string(codes))
		}
	}
	_, _ = w.Write(p.PNG) // the client is gone: nobody to tell
}

// timesWords are times as a header has them: 3.2, 4.5.
func timesWords(at []float64) string {
	words := make([]string, len(at))
	for i, t := range at {
		words[i] = strconv.FormatFloat(math.Round(t*1000)/1000, 'f', -1, 64)
	}
	return strings.Join(words, ", ")
}

var sizeForm = regexp.MustCompile(`^(\d{2,4})x(\d{2,4})$`)

// Bounds of the size of a preview without a video, in pixels.
const minPreview, maxPreview = 64, 4096

// previewAsk reads the query: t, sheet and size.
func previewAsk(r *http.Request) (ask apigpu.PreviewAsk, err error) {
	query := r.URL.Query()
	for name := range query {
		if name != "t" && name != "sheet" && name != "size" {
			return ask, unknownField("parameter", name, []string{"t", "sheet", "size"})
		}
	}
	if ask.Sheet, err = flag(r, "sheet"); err != nil {
		return ask, err
	}
	if ask.At, err = queryTime(query, "t"); err != nil {
		return ask, err
	}
	if ask.At != nil && ask.Sheet {
		return ask, apigpu.E(apigpu.InvalidRequest, nil, "t is the time of one picture, and sheet asks for nine.").WithField("t")
	}
	if query.Has("size") {
		m := sizeForm.FindStringSubmatch(query.Get("size"))
		if m == nil {
			return ask, sizeFault(query.Get("size"))
		}
		ask.Width, _ = strconv.Atoi(m[1]) // digits, as the form has it
		ask.Height, _ = strconv.Atoi(m[2])
		return ask, CheckPreviewSize(ask.Width, ask.Height)
	}
	return ask, nil
}

// CheckPreviewSize refuses a size that no preview has.
func CheckPreviewSize(width, height int) error {
	if min(width, height) < minPreview || max(width, height) > maxPreview {
		return sizeFault(fmt.Sprintf("%dx%d", width, height))
	}
	return nil
}

func sizeFault(value string) error {
	return apigpu.E(apigpu.InvalidRequest, nil, "size is WIDTHxHEIGHT of %d to %d pixels each, such as 1080x1920, not %q.", minPreview, maxPreview, echo(value)).
		WithField("size")
}

// maxTime bounds a time in a video, in seconds: a day.
const maxTime = 86400

// queryTime reads a time in seconds; nil where the query has none.
func queryTime(query url.Values, name string) (*float64, error) {
	if !query.Has(name) {
		return nil, nil
	}
	t, err := strconv.ParseFloat(query.Get(name), 64)
	if err != nil || !(t >= 0 && t <= maxTime) {
		return nil, apigpu.E(apigpu.InvalidRequest, nil, "%s is a time in seconds, such as 3.2, not %q.", name, echo(query.Get(name))).WithField(name)
	}
	return &t, nil
}
