package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/blob"
	"github.com/api-gpu/api-gpu/internal/container"
	"github.com/api-gpu/api-gpu/internal/db"
	"github.com/api-gpu/api-gpu/internal/doctor"
	"github.com/api-gpu/api-gpu/internal/fleet"
	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/link"
	"github.com/api-gpu/api-gpu/internal/provider/vast"
	"github.com/api-gpu/api-gpu/internal/queue"
	"github.com/api-gpu/api-gpu/internal/registry"
)

// patient is what a doctor looks at: the parts of a server that runs, or those
// that could be opened for one that need not.
type patient struct {
	cfg    *Config
	faults []string
	// unproven says that IDLE_TIMEOUT waits for a proof.
	unproven string
	rental   *vast.Provider
	image    *registry.Image
	db       *db.DB // nil where there is none, or dbErr says why not
	dbErr    error
	store    *blob.Store // of a server that runs
	open     func(*queue.Queue) (*blob.Store, error)
	fleet    string
	secret   []byte
	stops    []fleet.Stop // why the server rents nothing now, or the last one did not
	owned    bool         // the parts are ours to close
}

func (p *patient) close() {
	if !p.owned {
		return
	}
	if p.image != nil {
		p.image.Close()
	}
	if p.rental != nil {
		p.rental.Close()
	}
	if p.db != nil {
		_ = p.db.Close() // nothing was written
	}
}

// examiner is GET /doctor of a server.
func (o *orchestrator) examiner(identity fleet.Identity) func(context.Context) apigpu.Diagnosis {
	return func(ctx context.Context) apigpu.Diagnosis {
		p := &patient{
			cfg: o.cfg, rental: o.rental, image: o.image, db: o.db, store: o.store, fleet: identity.ID, secret: identity.Secret,
			unproven: o.fleet.IdleCapped(ctx), stops: o.fleet.Stops(),
		}
		return p.examine(ctx)
	}
}

func (p *patient) examine(ctx context.Context) apigpu.Diagnosis {
	return doctor.Examine(ctx, p.facts(), p.questions())
}

func (p *patient) facts() doctor.Facts {
	c := p.cfg
	f := doctor.Facts{
		Version: apigpu.Version(), Time: time.Now(), Provider: c.Provider, Production: c.production(), Faults: p.faults, Fleet: p.fleet,
		Image: c.VastWorkerImage, DayBudget: c.budget().Day, RequireGPU: c.requireGPU(),
		Forgets: c.forgets(), InContainer: container.Inside(), AllowEphemeral: c.AllowEphemeral,
		StorageMin: int64(c.DiskFreeMin), MaxUpload: int64(c.MaxUpload), PublicURL: c.PublicURL, Port: c.Port, Secrets: c.secrets(),
	}
	if p.unproven != "" {
		f.Warnings = append(f.Warnings, p.unproven)
	}
	f.Warnings = append(f.Warnings, c.weaknesses()...)
	for _, stop := range p.stops {
		f.Stopped = append(f.Stopped, stop.Told())
	}
	if p.rental != nil && p.image == nil && len(p.faults) == 0 {
		f.NoImage = "the registry is not asked for the image (VAST_IMAGE_CHECK), so that machines are rented with it by its name"
	}
	return f
}

func (p *patient) questions() doctor.Questions {
	c := p.cfg
	q := doctor.Questions{Database: p.askDatabase, Storage: p.askStorage, Volumes: p.askVolumes}
	if p.rental != nil {
		q.Instances = func(ctx context.Context) (gpu.Snapshot, error) { return fleet.Patiently(ctx, p.rental.Instances) }
		q.Credit = func(ctx context.Context) (gpu.USD, error) { return fleet.Patiently(ctx, p.rental.Credit) }
		q.Offers = func(ctx context.Context) ([]gpu.Offer, error) { return fleet.Patiently(ctx, p.rental.Offers) }
		q.Clock = p.rental.Clock
	}
	if p.image != nil {
		q.Image = p.image.Lookup
	}
	if u, err := url.Parse(c.PublicURL); err == nil && u.Host != "" {
		q.Public = p.askPublic
	}
	switch {
	case c.Provider == "static" && len(c.WorkerURL) > 0:
		q.Workers = p.askStatic
	case c.Provider == "local":
		q.Workers = p.askLocal
	}
	return q
}

// askFor bounds what is asked on this machine, where it is a matter of moments.
const askFor = 8 * time.Second

func (p *patient) askDatabase(ctx context.Context) (doctor.Database, error) {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	d, err := p.database(ctx)
	if err != nil && (ctx.Err() != nil || errors.Is(err, db.ErrHeld) || errors.Is(err, context.DeadlineExceeded)) {
		err = errors.Join(doctor.ErrLate, err)
	}
	return d, err
}

func (p *patient) database(ctx context.Context) (doctor.Database, error) {
	switch {
	case p.dbErr != nil:
		engine := db.SQLite
		if db.IsShared(p.cfg.DatabaseURL) {
			engine = db.PostgreSQL
		}
		return doctor.Database{Engine: string(engine)}, p.dbErr
	case p.db == nil:
		file, _ := db.File(p.cfg.DatabaseURL)
		return doctor.Database{Engine: string(db.SQLite), Missing: true}, p.cfg.databasePlace().unopened(canWrite(filepath.Dir(file)))
	}
	s, err := p.db.State(ctx)
	return doctor.Database{Engine: string(s.Dialect), Schema: s.Schema, Known: s.Known}, err
}

func (p *patient) askStorage(ctx context.Context) (doctor.Storage, error) {
	dir, _ := p.cfg.storageDir()
	if err := canWrite(dir); err != nil {
		return doctor.Storage{}, p.cfg.storagePlace().unopened(err)
	}
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		free, err := blob.Volume(existing(dir))
		return doctor.Storage{Missing: true, Free: free}, err
	}
	if p.store == nil && p.db != nil {
		if store, err := p.open(queue.New(p.db, nil)); err == nil {
			p.store = store
		}
	}
	if p.store != nil {
		if room, err := p.store.Room(ctx); err == nil {
			return doctor.Storage{Free: room.Free, Used: room.Used + room.Promised, Limit: room.Limit, Full: room.Full}, nil
		}
	}
	free, err := blob.Volume(dir) // the database cannot tell what is promised
	return doctor.Storage{Free: free}, err
}

// askVolumes measures the volumes that are written to beside that of the results
// and uploads: of the database, and of what workers on this machine work on.
func (p *patient) askVolumes(context.Context) (all []doctor.Volume, err error) {
	results, _ := p.cfg.storageDir()
	add := func(use doctor.Use, dir string, size int64) {
		if dir = existing(dir); blob.SameVolume(dir, existing(results)) {
			return
		}
		free, freeErr := blob.Volume(dir)
		if freeErr != nil {
			err = errors.Join(err, freeErr)
			return
		}
		all = append(all, doctor.Volume{Use: use, Free: free, Size: size})
	}
	if file, ok := db.File(p.cfg.DatabaseURL); ok {
		var size int64
		for _, name := range []string{file, file + "-wal"} {
			if info, err := os.Stat(name); err == nil {
				size += info.Size()
			}
		}
		add(doctor.ForDatabase, filepath.Dir(file), size)
	}
	if p.cfg.Provider == "local" {
		add(doctor.ForWorkers, p.cfg.LocalDir, 0)
	}
	return all, err
}

// canWrite reports why nothing can be written in a folder, or in the nearest
// one above that exists: by writing a file, and removing it.
func canWrite(dir string) error {
	file, err := os.CreateTemp(existing(dir), ".doctor-*")
	if err != nil {
		return err
	}
	_, writeErr := file.Write([]byte("x"))
	return errors.Join(writeErr, file.Close(), os.Remove(file.Name()))
}

// existing is a folder, or the nearest one above that exists.
func existing(dir string) string {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "."
	}
	for {
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

// healthProof answers the nonce of GET /health: who knows the root secret can
// tell by it that a name leads to a server of this fleet.
func healthProof(secret []byte) (func(nonce string) string, error) {
	key, err := link.Subkey(secret, "proof of health")
	if err != nil {
		return nil, err
	}
	return func(nonce string) string {
		mac := hmac.New(sha256.New, key)
		_, _ = mac.Write([]byte(nonce)) // never fails
		return hex.EncodeToString(mac.Sum(nil)[:16])
	}, nil
}

// secrets are all settings that must not be repeated.
func (c *Config) secrets() []string {
	all := []string{c.VastAPIKey, c.GPUAPIKey, c.WorkerToken, c.WorkerKey}
	all = append(all, strings.Split(c.WebhookSecret, ",")...)
	for _, entry := range strings.Split(c.APIKey, ",") {
		_, key, isNamed := strings.Cut(entry, ":")
		if !isNamed {
			key = entry
		}
		all = append(all, strings.TrimSpace(key))
	}
	words := strings.FieldsFunc(c.VastImageLogin, func(r rune) bool { return r == ' ' || r == '=' })
	for n, word := range words {
		if n > 0 && (words[n-1] == "-p" || words[n-1] == "--password") {
			all = append(all, word)
		}
	}
	if u, err := url.Parse(c.DatabaseURL); err == nil {
		password, _ := u.User.Password() // also of nobody
		all = append(all, password, u.Query().Get("password"))
	}
	return all
}
