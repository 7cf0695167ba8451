package fleet

import (
	"context"
	"time"
)

// imageGap is how long an image that is not there stops renting before its
// registry is asked again.
const imageGap = 30 * time.Second

// image returns the name by which the workers' image is to be pulled now;
// empty where it is the provider's to know. With false there is no such image,
// and every machine would fail: nothing is rented, which stops notes.
func (f *Fleet) image(ctx context.Context) (name string, ok bool) {
	if f.cfg.Image == nil {
		return "", true
	}
	name, pinned, err := f.cfg.Image(ctx)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.noImage = Stop{Code: "image", Reason: "the image of the workers cannot be had", Until: f.cfg.Now().Add(imageGap)}
		return "", false
	}
	f.noImage = Stop{}
	if !pinned {
		f.cfg.Log.WarnContext(ctx, "renting by the tag of the image: what it means is not known", "image", name)
	}
	return name, true
}

// imageStop is why nothing can be rented for want of an image. The caller
// holds mu.
func (f *Fleet) imageStop(now time.Time) []Stop {
	if f.noImage.Code == "" || !now.Before(f.noImage.Until) {
		return nil
	}
	return []Stop{f.noImage}
}
