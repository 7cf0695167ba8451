package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/joho/godotenv"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/db"
	"github.com/api-gpu/api-gpu/internal/doctor"
	"github.com/api-gpu/api-gpu/internal/fleet"
	"github.com/api-gpu/api-gpu/internal/program"
	"github.com/api-gpu/api-gpu/internal/show"
)

// doctorCmd tells whether a server with these settings can do its work. It
// rents nothing, writes nothing, and may run beside the server; with --live it
// rents one machine.
type doctorCmd struct {
	serveCmd
	live
	JSON bool `name:"json" help:"Write JSON, as GET /doctor does."`

	began bool // the settings could be read
}

// isDoctor tells whether these are the arguments of the command.
func isDoctor(args []string) bool { return len(args) > 0 && args[0] == "doctor" }

// openFor bounds the opening of the database, of which other questions need to
// know who we are.
const openFor = 5 * time.Second

// Run looks, and tells. Its error, and so the exit code 1, means that something
// does not work.
func (c *doctorCmd) Run(ctx context.Context, out program.Output) error {
	c.began = true
	if c.wanted() {
		return c.tryOne(ctx, out)
	}
	ctx, cancel := context.WithTimeout(ctx, doctor.Whole)
	defer cancel()
	c.defaults()
	p := c.patient(ctx, out)
	defer p.close()
	return tellDiagnosis(out.Stdout, p.examine(ctx), c.JSON)
}

// tryOne is doctor --live.
func (c *doctorCmd) tryOne(ctx context.Context, out program.Output) error {
	c.defaults()
	if fault := dotEnvFault(); fault != "" {
		return errors.New(fault)
	}
	if err := c.check(); err != nil {
		return err
	}
	return c.live.run(ctx, &c.Config, out)
}

// patient opens what can be opened of a server that need not run. What cannot
// is told by its check.
func (c *doctorCmd) patient(ctx context.Context, out program.Output) *patient {
	p := &patient{cfg: &c.Config, open: c.openStore, owned: true}
	p.faults = faultsOf(c.check())
	if fault := dotEnvFault(); fault != "" {
		p.faults = append(p.faults, fault)
	}
	log := program.Log(out.Stderr, "error", c.production())
	if c.rented() {
		if rental, err := c.vastProvider(log); err == nil { // else it is among the faults
			rental.Beside()
			p.rental = rental
			p.image, _ = c.vastImage(log) // as above
		}
	}
	ctx, cancel := context.WithTimeout(ctx, openFor)
	defer cancel()
	if p.db, p.dbErr = c.openDatabase(ctx, db.Look, db.Options{Log: log}); p.db != nil {
		if identity, err := fleet.ReadIdentity(ctx, p.db, c.Fleet, c.GPUAPIKey); err == nil {
			p.fleet, p.secret = identity.ID, identity.Secret
			p.stops = c.keptStops(ctx, p.db, identity)
		}
		p.unproven = c.unproven(ctx, p.db)
	}
	if p.fleet == "" {
		p.fleet = c.Fleet
	}
	if p.secret == nil && c.GPUAPIKey != "" {
		p.secret = []byte(c.GPUAPIKey)
	}
	return p
}

// unproven says that IDLE_TIMEOUT waits for a proof; empty where it does not.
func (c *Config) unproven(ctx context.Context, d *db.DB) string {
	idle, err := c.idleTimeout()
	if err != nil || c.proofOf() == "" {
		return ""
	}
	if _, ok, err := fleet.Proof(ctx, d, c.proofOf()); ok && err == nil {
		return ""
	}
	return fleet.Unproven(idle)
}

// keptStops are why a server with these settings rents nothing now, or the last
// one did not. Where that cannot be read, as in a database of an older version, the
// check of the database tells what ails it.
func (c *Config) keptStops(ctx context.Context, d *db.DB, identity fleet.Identity) []fleet.Stop {
	settings, err := c.rentalSettings(identity)
	if err != nil {
		return nil
	}
	stops, _ := fleet.KeptStops(ctx, d, c.Provider, settings)
	return stops
}

// dotEnvFault says what is wrong with the file of settings, and nothing that is
// in it.
func dotEnvFault() string {
	if _, err := godotenv.Read(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return ".env cannot be read, and nothing of it was: each line must be NAME=value"
	}
	return ""
}

// faultsOf are the lines of an error that joins several.
func faultsOf(err error) (faults []string) {
	if err == nil {
		return nil
	}
	for line := range strings.Lines(err.Error()) {
		if line = strings.TrimSpace(line); line != "" {
			faults = append(faults, line)
		}
	}
	return faults
}

// unread tells of settings that cannot even be read. What is wrong with the
// command line itself is told as everywhere.
func (c *doctorCmd) unread(args []string, w io.Writer, fault error) error {
	if fault == nil || strings.HasPrefix(fault.Error(), "un") { // unknown flag, unexpected argument
		return fault
	}
	faults := []string{fault.Error()}
	if f := dotEnvFault(); f != "" {
		faults = append(faults, f)
	}
	d := doctor.Unread(doctor.Facts{Version: apigpu.Version(), Time: time.Now(), Secrets: c.secrets()}, strings.Join(faults, "; "))
	return tellDiagnosis(w, d, slices.Contains(args, "--json"))
}

// tellDiagnosis writes what was found. The error is how much of it failed.
func tellDiagnosis(w io.Writer, d apigpu.Diagnosis, asJSON bool) error {
	if !asJSON {
		show.Checks(w, d.Checks)
	} else if err := show.JSON(w, d); err != nil {
		return err
	}
	switch n := d.Failed(); n {
	case 0:
		return nil
	case 1:
		return errors.New("1 check failed")
	default:
		return fmt.Errorf("%d checks failed", n)
	}
}
