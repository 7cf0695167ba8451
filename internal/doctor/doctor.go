// Package doctor tells whether a server with its settings can do its work, and
// what to do where it cannot. It rents nothing and changes nothing.
//
// Examine asks, all at once and within a bound; Judge decides, as a pure
// function of what was seen.
package doctor

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/gpu"
)

// Bounds of an examination.
const (
	// Whole is how long an examination takes at most. What has not answered by
	// then is said not to.
	Whole = 20 * time.Second
	// askFor is how long each question may take. The rest of Whole is for those
	// that do not end when they are told to.
	askFor = 18 * time.Second
)

// Facts are what is known without asking anybody.
type Facts struct {
	Version  string
	Time     time.Time
	Provider string // vast, static or local; empty where it cannot be told
	// Production is APP_ENV=production.
	Production bool
	// Faults are what is wrong with the settings, Warnings what works and should
	// be changed.
	Faults, Warnings []string
	// Fleet is the id of ours; empty where no server has ever run.
	Fleet string
	// Image is the name of the workers' image, NoImage why its registry is not
	// asked for it.
	Image, NoImage string
	DayBudget      gpu.USD // 0 is none
	RequireGPU     bool
	// Stopped are why a server that runs rents nothing now, whatever waits.
	Stopped []string
	// Forgets is the setting whose path a container forgets, as NAME=value;
	// empty where it is kept. InContainer tells where it is looked from.
	Forgets        string
	InContainer    bool
	AllowEphemeral bool
	// StorageMin is DISK_FREE_MIN, MaxUpload the largest video.
	StorageMin, MaxUpload int64
	PublicURL             string
	Port                  int
	// Secrets must not be in any answer, whatever repeats them.
	Secrets []string
}

// Asked is the answer to a question: Value, or why there is none. Of one that
// was never asked Asked is false.
type Asked[T any] struct {
	Value T
	Err   error
	Asked bool
}

// ErrLate is of a question that was not answered in time.
var ErrLate = errors.New("no answer in time")

// Questions are put to the world. Those that are nil do not apply. Each must
// end when its context does; one that does not is left behind.
type Questions struct {
	// Instances, Credit, Offers and Clock ask the marketplace, at its pace. Clock
	// is by how much its clock is ahead of ours, as its last answer told.
	Instances func(context.Context) (gpu.Snapshot, error)
	Credit    func(context.Context) (gpu.USD, error)
	Offers    func(context.Context) ([]gpu.Offer, error)
	Clock     func() (ahead time.Duration, known bool)
	// Image asks the registry for the digest of the workers' image, and whether
	// rented machines can run it.
	Image    func(context.Context) (digest string, err error)
	Database func(context.Context) (Database, error)
	Storage  func(context.Context) (Storage, error)
	// Volumes are those that are written to beside that of the results.
	Volumes func(context.Context) ([]Volume, error)
	// Public asks the server at PUBLIC_URL who it is.
	Public  func(context.Context) (Public, error)
	Workers func(context.Context) ([]Worker, error)
}

// Database is how the database was found.
type Database struct {
	Engine  string // sqlite or postgres
	Missing bool   // there is none yet, and one can be made
	// Schema is its version, Known the one that this program brings it to.
	Schema, Known int64
}

// Storage is how the folder of results was found, in bytes.
type Storage struct {
	Missing bool // there is none yet, and it can be made
	// Free is the room on its volume; Used and Limit are of STORAGE_MAX, where
	// they are known.
	Free, Used, Limit int64
	Full              bool
}

// Volume is how one was found that is not that of the results.
type Volume struct {
	Use  Use
	Free int64 // bytes
	// Size is how many bytes of it the database has, where that is its use.
	Size int64
}

// Use is what a volume is written to for.
type Use string

// The uses.
const (
	ForDatabase Use = "the database"  // DATABASE_URL
	ForWorkers  Use = "local workers" // LOCAL_DIR: a video and its result, while it is at work
)

// Public is what answered at PUBLIC_URL.
type Public struct {
	Status  int
	Service string // as api-gpu names itself; empty where it is no api-gpu
	// Proven means that it proved to be a server of our fleet, and Provable that
	// we know what it would have to say.
	Proven, Provable bool
}

// Worker is what one worker said.
type Worker struct {
	Name     string // its address, or its program
	Err      error  // why it said nothing
	Reason   string // why it is not ready
	Accepted bool   // it takes our key and token, and so said the rest
	Info     apigpu.WorkerInfo
}

// Seen is all that an examination looked at.
type Seen struct {
	Facts
	Instances Asked[gpu.Snapshot]
	Credit    Asked[gpu.USD]
	Offers    Asked[[]gpu.Offer]
	Ahead     Asked[time.Duration]
	Digest    Asked[string]
	Database  Asked[Database]
	Storage   Asked[Storage]
	Volumes   Asked[[]Volume]
	Public    Asked[Public]
	Workers   Asked[[]Worker]
}

// Examine asks all questions at once and judges the answers. It returns within
// Whole, or sooner where ctx ends.
func Examine(ctx context.Context, f Facts, q Questions) apigpu.Diagnosis {
	ctx, cancel := context.WithTimeout(ctx, Whole)
	defer cancel()
	instances, credit, offers := ask(ctx, q.Instances), ask(ctx, q.Credit), ask(ctx, q.Offers)
	image, database, storage := ask(ctx, q.Image), ask(ctx, q.Database), ask(ctx, q.Storage)
	volumes, public, workers := ask(ctx, q.Volumes), ask(ctx, q.Public), ask(ctx, q.Workers)
	s := Seen{
		Facts: f, Instances: answer(ctx, instances), Credit: answer(ctx, credit), Offers: answer(ctx, offers), Digest: answer(ctx, image),
		Database: answer(ctx, database), Storage: answer(ctx, storage), Volumes: answer(ctx, volumes),
		Public: answer(ctx, public), Workers: answer(ctx, workers),
	}
	if q.Clock != nil { // after the others, whose answers told it
		s.Ahead.Value, s.Ahead.Asked = q.Clock()
	}
	return apigpu.Diagnosis{Version: f.Version, Time: f.Time.UTC(), Checks: redacted(Judge(s), f.Secrets)}
}

// ask begins a question; nil where there is none.
func ask[T any](ctx context.Context, question func(context.Context) (T, error)) <-chan Asked[T] {
	if question == nil {
		return nil
	}
	answered := make(chan Asked[T], 1)
	go func() {
		ctx, cancel := context.WithTimeout(ctx, askFor)
		defer cancel()
		value, err := question(ctx)
		if err != nil && ctx.Err() != nil {
			err = errors.Join(ErrLate, err)
		}
		answered <- Asked[T]{value, err, true}
	}()
	return answered
}

// answer waits for the end of a question, or of ctx.
func answer[T any](ctx context.Context, answered <-chan Asked[T]) Asked[T] {
	if answered == nil {
		return Asked[T]{}
	}
	select {
	case a := <-answered:
		return a
	case <-ctx.Done():
	}
	select { // it may have been there while another was waited for
	case a := <-answered:
		return a
	default:
		return Asked[T]{Err: ErrLate, Asked: true}
	}
}

// leastSecret is the shortest text that is taken for a secret: shorter ones are
// words.
const leastSecret = 6

// redacted are checks without secrets. None is put there; this is for what
// repeats one.
func redacted(checks []apigpu.Check, secrets []string) []apigpu.Check {
	for _, secret := range secrets {
		if len(secret) < leastSecret {
			continue
		}
		for n, c := range checks {
			checks[n].Message = strings.ReplaceAll(c.Message, secret, "[redacted]")
			checks[n].Hint = strings.ReplaceAll(c.Hint, secret, "[redacted]")
		}
	}
	return checks
}
