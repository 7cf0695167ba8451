package doctor

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"syscall"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/fleet"
	"github.com/api-gpu/api-gpu/internal/gpu"
)

func database(s Seen) apigpu.Check {
	d, err := s.Database.Value, s.Database.Err
	switch {
	case !s.Database.Asked:
		return skipped("The settings do not say where it is.")
	case errors.Is(err, ErrLate):
		return hint(failed("The database does not answer in time: another program may hold it."), "See who else has it open, and whether its disk is well (DATABASE_URL).")
	case errors.Is(err, syscall.ENOSPC):
		return hint(failed("The database has no room on its disk."), "Make room on the volume of DATABASE_URL.")
	case err != nil && d.Engine == "postgres":
		return hint(failed("The database cannot be used: %s", cause(err)), "Compare DATABASE_URL with the server, the user and the database that are there; sslmode in it says how it speaks TLS.")
	case err != nil:
		return hint(failed("The database cannot be used: %s", cause(err)), "Look at DATABASE_URL, and at the rights of its folder. Where the file is damaged, put back a copy.")
	case d.Missing:
		return ok("There is no database yet; the first start makes it.")
	case d.Schema > d.Known:
		return hint(failed("This database was made by a newer api-gpu (schema %d, this program knows %d).", d.Schema, d.Known), "Use the newer program, or put back the copy that was made before it: *.before-%04d beside it.", d.Known+1)
	case d.Schema < d.Known:
		return ok("The %s database can be read and written. It is of an older api-gpu (schema %d): the next start brings it to %d, on SQLite after a copy.", d.Engine, d.Schema, d.Known)
	}
	return ok("The %s database can be read and written (schema %d).", d.Engine, d.Schema)
}

func state(s Seen) apigpu.Check {
	switch {
	case s.Forgets == "" && s.InContainer:
		return ok("What is kept outlives this container: it is on a mounted volume, or elsewhere.")
	case s.Forgets == "":
		return ok("What is kept is in no container that could forget it.")
	case s.Provider == "vast" && s.Production && !s.AllowEphemeral:
		return hint(failed("%s is inside the container, which forgets it when it is replaced: nothing is rented.", s.Forgets),
			"Mount a volume there (in the published image: at /app/data), or set ALLOW_EPHEMERAL=1.")
	}
	return hint(warning("%s is inside the container, which forgets it when it is replaced, jobs and what is rented with it.", s.Forgets),
		"Mount a volume there (in the published image: at /app/data).")
}

func storage(s Seen) apigpu.Check {
	st, err := s.Storage.Value, s.Storage.Err
	switch {
	case !s.Storage.Asked:
		return skipped("The settings do not say where it is.")
	case errors.Is(err, syscall.ENOSPC):
		return hint(failed("The folder of results has no room on its disk."), "Make room on the volume of STORAGE_URL, or give it more.")
	case err != nil:
		return hint(failed("The folder of results cannot be used: %s", cause(err)), "Look at STORAGE_URL, and at who may write there.")
	case st.Missing:
		return ok("There is no folder of results yet; the first start makes it.")
	case st.Full:
		return hint(failed("The storage is full: new work is refused."), "Raise STORAGE_MAX, shorten RESULT_TTL, or make room.")
	case st.Limit > 0:
		return ok("Results can be written: %s of %s are used.", size(st.Used), size(st.Limit))
	}
	return ok("Results can be written.")
}

// disk is how much room there is: for results, and on each other volume that is
// written to.
func disk(s Seen) apigpu.Check {
	checks := []apigpu.Check{resultsRoom(s)}
	for _, v := range s.Volumes.Value {
		checks = append(checks, volumeRoom(s, v))
	}
	if s.Volumes.Err != nil {
		checks = append(checks, skipped("Of other volumes it is not known."))
	}
	return worst(checks)
}

// leastRoom is what a database needs at least, in bytes: its log alone has 8 MiB,
// and a copy before an update leaves 16 MiB.
const leastRoom = 64 << 20

func volumeRoom(s Seen, v Volume) apigpu.Check {
	switch {
	case v.Use == ForDatabase && v.Free < leastRoom:
		return hint(failed("The volume of %s has %s free: what is rented could soon not be recorded any more.", v.Use, size(v.Free)), "Make room there (DATABASE_URL).")
	case v.Use == ForDatabase && v.Free < max(s.StorageMin, v.Size):
		return hint(warning("The volume of %s has %s free; it grows, and is copied before an update.", v.Use, size(v.Free)), "Make room there (DATABASE_URL).")
	case v.Use == ForWorkers && v.Free < 2*s.MaxUpload:
		return hint(warning("The volume of %s has %s free; a video of MAX_UPLOAD (%s) and its result may not fit.", v.Use, size(v.Free), size(s.MaxUpload)),
			"Make room there (LOCAL_DIR), or lower MAX_UPLOAD.")
	}
	return ok("The volume of %s has %s free.", v.Use, size(v.Free))
}

func resultsRoom(s Seen) apigpu.Check {
	st := s.Storage.Value
	switch {
	case !s.Storage.Asked || s.Storage.Err != nil:
		return skipped("It is not known how much room there is.")
	case st.Free < s.StorageMin:
		return hint(failed("The volume of the results has %s free, less than DISK_FREE_MIN (%s): new work is refused.", size(st.Free), size(s.StorageMin)), "Make room, or lower DISK_FREE_MIN.")
	case st.Free-s.StorageMin < 2*s.MaxUpload:
		return hint(warning("The volume of the results has %s free; a video of MAX_UPLOAD (%s) and its result may not fit beside DISK_FREE_MIN.", size(st.Free), size(s.MaxUpload)),
			"Make room, or lower MAX_UPLOAD.")
	}
	return ok("The volume of the results has %s free.", size(st.Free))
}

// size is a number of bytes for people.
func size(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	}
	return fmt.Sprintf("%d MiB", n>>20)
}

func public(s Seen) apigpu.Check {
	p, err := s.Public.Value, s.Public.Err
	proxy := fmt.Sprintf("Lead that domain to port %d of this server; in a panel that is the proxy port of the domain. Compare PUBLIC_URL.", s.Port)
	switch {
	case s.PublicURL == "" && s.Production:
		return hint(warning("PUBLIC_URL is not set: links to videos are made from what each request says."), "Set it to the address under which clients reach this server, such as https://video.example.com.")
	case s.PublicURL == "":
		return skipped("PUBLIC_URL is not set; in development nobody needs it.")
	case !s.Public.Asked:
		return skipped("PUBLIC_URL is no address that could be asked.")
	case err != nil:
		return noPublic(s.PublicURL, err, proxy)
	case p.Service == "":
		return hint(failed("PUBLIC_URL answers %d, and not as an api-gpu: something else is there, or a proxy that does not reach this server.", p.Status), "%s", proxy)
	case p.Proven:
		return ok("PUBLIC_URL leads to this server.")
	case p.Provable:
		return hint(failed("PUBLIC_URL leads to another api-gpu than the one of this database, or to an older version."), "Compare PUBLIC_URL, DATABASE_URL and GPU_API_KEY with those of the server that answers there.")
	}
	return hint(warning("An api-gpu answers at PUBLIC_URL; whether it is the one with these settings cannot be told, since there is no database yet."), "Start the server, and run this again.")
}

// noPublic is PUBLIC_URL without an answer. Some networks do not lead back to
// themselves, so that silence alone proves nothing.
func noPublic(address string, err error, proxy string) apigpu.Check {
	host := address
	if u, parseErr := url.Parse(address); parseErr == nil {
		host = u.Hostname()
	}
	var name *net.DNSError
	switch {
	case errors.As(err, &name) && name.IsNotFound:
		return hint(failed("The name %s of PUBLIC_URL does not exist.", host), "Make a DNS record that points it to this server, or correct PUBLIC_URL.")
	case errors.Is(err, http.ErrSchemeMismatch):
		return hint(failed("PUBLIC_URL begins with https://, and plain HTTP is spoken there."), "Let the proxy before this server speak HTTPS, or correct PUBLIC_URL.")
	case isTLS(err):
		return hint(failed("The certificate at PUBLIC_URL is not good: %s", cause(err)), "Let the proxy before this server get one; its HTTPS must be on for %s.", host)
	}
	return hint(warning("PUBLIC_URL does not answer from here: %s", cause(err)),
		"Start the server if it does not run. %s Some networks do not lead back to themselves: if it opens from elsewhere, all is well.", proxy)
}

func workers(s Seen) apigpu.Check {
	list, err := s.Workers.Value, s.Workers.Err
	switch {
	case len(s.Stopped) > 0:
		return hint(warning("Nothing is rented now: %s.", strings.TrimSuffix(strings.Join(s.Stopped, "; "), ".")), "See api-gpu gpus, which also tells when it is tried again.")
	case !s.Workers.Asked && s.Provider == "vast":
		return skipped("They are rented when a job comes; orchestrator doctor --live=50 rents one to see (for 50 cents at most).")
	case !s.Workers.Asked:
		return skipped("The settings do not say where they come from.")
	case err != nil:
		return hint(failed("The workers cannot be asked: %s", cause(err)), "Look at WORKER_URL, WORKER_BIN and PROVIDER.")
	}
	var checks []apigpu.Check
	for _, w := range list {
		checks = append(checks, worker(s, w))
	}
	return worst(checks)
}

// worst is several checks in one: it says what all say, and counts as the worst
// of them, with the hint of that.
func worst(checks []apigpu.Check) (all apigpu.Check) {
	all.Status = apigpu.CheckSkipped
	var said []string
	for _, c := range checks {
		said = append(said, c.Message)
		if rank(c.Status) > rank(all.Status) {
			all = c
		}
	}
	all.Message = strings.Join(said, " ")
	return all
}

// rank orders how bad a check is.
func rank(status apigpu.CheckStatus) int {
	return slices.Index([]apigpu.CheckStatus{apigpu.CheckSkipped, apigpu.CheckOK, apigpu.CheckWarning, apigpu.CheckFailed}, status)
}

// worker judges one worker.
func worker(s Seen, w Worker) apigpu.Check {
	own := s.Provider == "local"
	switch {
	case w.Err != nil && own:
		return hint(failed("The worker on this machine does not work (%s): %s", w.Name, cause(w.Err)), "Set WORKER_BIN to the worker program, and install ffmpeg and a font: make setup names what is missing.")
	case w.Err != nil:
		return hint(failed("The worker %s does not answer: %s", w.Name, cause(w.Err)), "Start it, and compare WORKER_URL with its address.")
	case !w.Accepted:
		return hint(failed("The worker %s does not accept this server.", w.Name), "Set WORKER_TOKEN to its SESSION_TOKEN and WORKER_KEY to its X_API_KEY; its ALLOWED_IPS must hold the address of this server.")
	case w.Reason != "":
		return hint(failed("The worker %s is not ready: %s", w.Name, sentence(w.Reason)), "Its log says more; bin/worker selftest tries it there.")
	case w.Info.API != apigpu.APIVersion:
		return hint(failed("The worker %s speaks version %d of the API between the two, this server %d.", w.Name, w.Info.API, apigpu.APIVersion), "Update the older one.")
	case s.RequireGPU && w.Info.GPU == "":
		return hint(failed("The worker %s has no GPU, and REQUIRE_GPU wants one.", w.Name), "Set REQUIRE_GPU=false to encode on its CPU.")
	}
	return ok("The worker %s encodes with %s.", w.Name, w.Info.Encoder)
}

func foreign(s Seen) apigpu.Check {
	list := s.Instances.Value
	switch {
	case !s.Instances.Asked:
		return needsMarket(s)
	case s.Instances.Err != nil:
		return skipped("The account did not tell what is on it.")
	}
	fleets := map[string]int{}
	hourly := gpu.USD(0)
	for _, in := range list.Instances {
		if of, _, ours := fleet.SplitLabel(in.Label); ours && (s.Fleet == "" || of != s.Fleet) {
			fleets[of]++
			hourly += in.HourlyUSD
		}
	}
	if len(fleets) == 0 && list.Complete {
		return ok("Nothing of another fleet is on the account.")
	}
	if len(fleets) == 0 {
		return warning("Nothing of another fleet was seen on the account, which did not tell all.")
	}
	var named, commands []string
	for _, of := range slices.Sorted(maps.Keys(fleets)) {
		named = append(named, fmt.Sprintf("%s (%d)", of, fleets[of]))
		commands = append(commands, "orchestrator sweep --fleet="+of)
	}
	what := "of another fleet"
	if s.Fleet == "" {
		what = "of an api-gpu"
	}
	return hint(warning("Instances %s are on the account, for %s an hour: %s.", what, hourly.Exact(), strings.Join(named, ", ")),
		"If no server of yours wants them any more: %s", strings.Join(commands, "; "))
}
