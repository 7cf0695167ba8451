package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

const (
	// imageHold is until an image that its registry does not have is looked
	// for again. It is one small request, and it may be pushed at any moment.
	imageHold = time.Minute
	// imageCheck bounds how long the end of a machine waits for a registry.
	imageCheck = 5 * time.Second
	// imageSpan is how far apart two owners may say that they cannot have our
	// image, to be believed.
	imageSpan = time.Hour
)

// image returns the name by which the next machine pulls its image, and false
// where there is none that it could pull.
func (f *Fleet) image(ctx context.Context) (ref string, ok bool) {
	if f.cfg.Image == nil {
		return "", true
	}
	ref, pinned, err := f.cfg.Image(ctx)
	if err != nil {
		if ctx.Err() == nil {
			f.noImage(ctx, err)
		}
		return "", false
	}
	f.mu.Lock()
	missed := f.stops[stopImage].steady
	f.mu.Unlock()
	if missed {
		f.unstop(ctx, stopImage)
	}
	if !pinned {
		f.cfg.Log.WarnContext(ctx, "renting by the tag of the image: what it means is not known", "image", ref)
	}
	return ref, true
}

// noImage stops renting: the registry says itself that there is no such image.
// That is asked again before each create, so the stop never grows.
func (f *Fleet) noImage(ctx context.Context, err error) {
	f.stop(ctx, stopped{steady: true, Stop: Stop{
		Code: stopImage, Reason: "the registry does not have the image of the workers, or not for us",
		Detail: fmt.Sprintf("%s: push it, or mend VAST_WORKER_IMAGE or VAST_IMAGE_LOGIN", err),
	}}, imageHold)
}

// judgeImage says on whom it is that a machine could not pull our image. What
// one machine says of a registry is little: it is the image only where its
// registry tells us the same, or where the machine of another owner does.
func (f *Fleet) judgeImage(ctx context.Context, label string) Blame {
	check := f.cfg.CheckImage
	if check == nil {
		check = f.cfg.Image
	}
	if check != nil {
		call, cancel := context.WithTimeout(ctx, imageCheck)
		defer cancel()
		_, _, err := check(call)
		if err != nil && (call.Err() == nil || errors.Is(err, gpu.ErrNoImage)) {
			f.noImage(ctx, err)
			return BlameImage
		}
	}
	in, err := f.instance(ctx, label)
	others := false
	if err == nil {
		others, err = f.othersMissImage(ctx, in)
	}
	if err != nil {
		f.cfg.Log.WarnContext(ctx, "not known who else misses the image", "error", err)
	}
	if !others {
		return BlameMachine
	}
	f.stop(ctx, stopped{Stop: Stop{
		Code: stopImage, Reason: "machines of two owners could not start the image of the workers",
		Detail: "lastly: " + in.Message,
	}}, stopHold)
	return BlameImage
}

// othersMissImage reports whether the machine of another owner could not start
// the image either, lately, and none could since.
func (f *Fleet) othersMissImage(ctx context.Context, in Instance) (yes bool, err error) {
	rows, err := query(ctx, f.cfg.DB.Read(), `SELECT `+instanceColumns+` FROM instances
		WHERE provider = $1 AND label <> $2 AND permanent = 0 AND created_at > $3 AND (ready_at > 0 OR fault = 'image')
		ORDER BY created_at DESC, label DESC LIMIT 20`, f.cfg.Provider.Name(), in.Label, millis(f.cfg.Now().Add(-imageSpan)))
	for _, other := range rows {
		if !other.ReadyAt.IsZero() {
			return false, err
		}
		if here, there := in.Terms.HostID, other.Terms.HostID; here != "" && there != "" && here != there {
			return true, err
		}
	}
	return false, err
}
