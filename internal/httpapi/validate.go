package httpapi

import (
	"net/http"
	"strconv"

	"github.com/api-gpu/api-gpu"
)

// validate answers POST /video/caption/validate: a request for captions that
// is looked at and not carried out. It may leave the video out.
func (a *API) validate(w http.ResponseWriter, r *http.Request) {
	ctx, who := r.Context(), CallerOf(r.Context())
	cues, err := flag(r, "cues")
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
	sub.Base = baseOf(ctx)
	absent := sub.Spec.URLVideo == "" && sub.Upload == ""
	if err := sub.Spec.Validate(absent || sub.Upload != "", sub.Subtitle != nil); err != nil {
		a.fail(w, r, err)
		return
	}
	sub.Subtitle, sub.Spec = inline(sub.Subtitle, sub.Spec)
	answer, err := a.cfg.Jobs.Validate(ctx, who, sub, cues)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	WriteJSON(w, http.StatusOK, answer)
}

// flag reads a query parameter that is true or false; one without a value is
// true, one that is absent false.
func flag(r *http.Request, name string) (bool, error) {
	query := r.URL.Query()
	if !query.Has(name) {
		return false, nil
	}
	if query.Get(name) == "" {
		return true, nil
	}
	v, err := strconv.ParseBool(query.Get(name))
	if err != nil {
		return false, apigpu.E(apigpu.InvalidRequest, nil, "%s is true or false, not %q.", name, echo(query.Get(name))).WithField(name)
	}
	return v, nil
}
