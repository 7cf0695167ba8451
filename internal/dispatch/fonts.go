package dispatch

import (
	"bytes"
	"context"
	"io"
	"slices"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/client"
	"github.com/api-gpu/api-gpu/internal/crash"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// sumsOf are the SHA-256 sums that the keys of fonts name.
func sumsOf(keys []string) (sums []string) {
	for _, key := range keys {
		if sum := queue.FontSum(key); !slices.Contains(sums, sum) {
			sums = append(sums, sum)
		}
	}
	return sums
}

// pushFonts gives the worker the fonts that go along with the job, before it
// wants them. Each may be given again, to a worker that has it.
func (d *driver) pushFonts(ctx context.Context, worker *client.Client) error {
	var sent []string
	for _, key := range d.job.Fonts {
		sum := queue.FontSum(key)
		if slices.Contains(sent, sum) {
			continue
		}
		file, _, err := d.cfg.Blob.Open(ctx, key)
		if err != nil {
			return apigpu.E(apigpu.Internal, err, "A font of this job is gone.")
		}
		var b bytes.Buffer
		_, err = io.Copy(&b, io.LimitReader(file, apigpu.MaxFont))
		if closeErr := file.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			return apigpu.E(apigpu.Internal, err, "A font of this job cannot be read.")
		}
		err = d.retryFor(ctx, fontTimeout, func(ctx context.Context) error {
			crash.Point("dispatch.font")
			return lostIfUnknown(worker.PushFont(ctx, d.job.ID, d.job.Attempt, sum, b.Bytes()))
		})
		if apigpu.CodeOf(err) == apigpu.Conflict && d.endedThere(ctx, worker) {
			return nil // follow learns how
		}
		if err != nil {
			return err
		}
		sent = append(sent, sum)
	}
	return nil
}
