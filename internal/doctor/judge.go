package doctor

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/gpu"
)

// The names of the checks, in their order.
const (
	checkSettings  = "settings"
	checkAccount   = "account"
	checkCredit    = "credit"
	checkOffers    = "offers"
	checkImage     = "image"
	checkDatabase  = "database"
	checkState     = "state"
	checkStorage   = "storage"
	checkDisk      = "disk"
	checkClock     = "clock"
	checkPublicURL = "public_url"
	checkWorkers   = "workers"
	checkForeign   = "foreign"
)

// Names are the names of all checks, in their order.
func Names() []string {
	return []string{
		checkSettings, checkAccount, checkCredit, checkOffers, checkImage, checkDatabase, checkState, checkStorage, checkDisk,
		checkClock, checkPublicURL, checkWorkers, checkForeign,
	}
}

// Unread is the diagnosis of settings that cannot even be read: nothing else
// can be looked at.
func Unread(f Facts, fault string) apigpu.Diagnosis {
	d := apigpu.Diagnosis{Version: f.Version, Time: f.Time.UTC()}
	for _, name := range Names() {
		c := apigpu.Check{Name: name, Status: apigpu.CheckSkipped, Message: "The settings cannot be read."}
		if name == checkSettings {
			c = apigpu.Check{Name: name, Status: apigpu.CheckFailed, Message: sentence(fault), Hint: "Mend it in the environment or in .env, and run this again."}
		}
		d.Checks = append(d.Checks, c)
	}
	d.Checks = redacted(d.Checks, f.Secrets)
	return d
}

// Judge says what was found, one check each, in their order.
func Judge(s Seen) []apigpu.Check {
	checks := []apigpu.Check{
		settings(s), account(s), credit(s), offers(s), image(s), database(s), state(s), storage(s), disk(s), clock(s), public(s), workers(s), foreign(s),
	}
	for n, name := range Names() {
		checks[n].Name = name
	}
	return checks
}

func found(status apigpu.CheckStatus, format string, args ...any) apigpu.Check {
	return apigpu.Check{Status: status, Message: fmt.Sprintf(format, args...)}
}

func ok(format string, args ...any) apigpu.Check { return found(apigpu.CheckOK, format, args...) }
func warning(format string, args ...any) apigpu.Check {
	return found(apigpu.CheckWarning, format, args...)
}
func failed(format string, args ...any) apigpu.Check {
	return found(apigpu.CheckFailed, format, args...)
}
func skipped(format string, args ...any) apigpu.Check {
	return found(apigpu.CheckSkipped, format, args...)
}

// hint is a check with what to do.
func hint(c apigpu.Check, format string, args ...any) apigpu.Check {
	c.Hint = fmt.Sprintf(format, args...)
	return c
}

func settings(s Seen) apigpu.Check {
	switch {
	case len(s.Faults) > 0:
		return hint(failed("%s", sentence(strings.Join(s.Faults, "; "))), "The server does not start like this. orchestrator serve --help and .env.example name every setting.")
	case len(s.Warnings) > 0:
		return warning("%s", sentence(strings.Join(s.Warnings, "; ")))
	}
	return ok("The settings fit together; workers come from PROVIDER=%s.", s.Provider)
}

// needsMarket is why a check about the marketplace is skipped.
func needsMarket(s Seen) apigpu.Check {
	if s.Provider == "vast" || s.Provider == "" {
		return skipped("The settings do not say how to ask the marketplace.")
	}
	return skipped("PROVIDER=%s rents nothing.", s.Provider)
}

// keyRights is what the key of the account must be allowed.
const keyRights = `{"api": {"misc": {}, "user_read": {}, "instance_read": {}, "instance_write": {}, "billing_read": {}}}`

func account(s Seen) apigpu.Check {
	err := s.Instances.Err
	switch {
	case !s.Instances.Asked:
		return needsMarket(s)
	case errors.Is(err, gpu.ErrAuth):
		return hint(failed("Vast.ai does not accept VAST_API_KEY, or not for listing instances."),
			"Make a key at https://cloud.vast.ai/manage-keys/ with these rights: %s", keyRights)
	case err != nil:
		return unheard("Vast.ai does not answer", err, "VAST_API_URL")
	}
	return ok("Vast.ai accepts the key. Instances on the account: %d.", len(s.Instances.Value.Instances))
}

// unheard is a check whose question got no answer. Who was asked too often is
// there.
func unheard(what string, err error, setting string) apigpu.Check {
	if _, often := errors.AsType[gpu.RateLimited](err); often {
		return hint(warning("%s now: somebody else asks with the same key, such as a running server.", what), "Run this again in a minute.")
	}
	return hint(failed("%s: %s", what, cause(err)), "Look at the network of this machine, its DNS and its firewall, and at %s.", setting)
}

// lowCredit is an amount that a day may use up.
const lowCredit = gpu.Dollar

// prepaid is the last bound of all.
const prepaid = "Leave automatic billing off at https://cloud.vast.ai/billing/: what is not paid in cannot be spent, whatever goes wrong."

func credit(s Seen) apigpu.Check {
	err, usd := s.Credit.Err, s.Credit.Value
	switch {
	case !s.Credit.Asked:
		return needsMarket(s)
	case errors.Is(err, gpu.ErrAuth):
		return hint(warning("The key may not read the credit of the account."), "A key with the right user_read may. %s", prepaid)
	case err != nil:
		return unheard("The account does not tell its credit", err, "VAST_API_URL")
	case usd <= 0:
		return hint(failed("The account has no credit (%s): nothing can be rented.", usd.Exact()), "Add some at https://cloud.vast.ai/billing/. %s", prepaid)
	case usd < max(lowCredit, s.DayBudget):
		return hint(warning("The account has %s, which a day may use up.", usd.Exact()), "Add some at https://cloud.vast.ai/billing/. %s", prepaid)
	}
	return hint(ok("The account has %s.", usd.Exact()), "%s", prepaid)
}

func offers(s Seen) apigpu.Check {
	err, list := s.Offers.Err, s.Offers.Value
	const search = "VAST_MAX_PRICE, VAST_GPU_MODELS, VAST_MIN_VRAM, VAST_VERIFIED, VAST_DATACENTER, VAST_COUNTRIES, VAST_MIN_RELIABILITY"
	switch {
	case !s.Offers.Asked:
		return needsMarket(s)
	case errors.Is(err, gpu.ErrAuth):
		return hint(failed("The key may not search offers."), "Give it these rights: %s", keyRights)
	case err != nil:
		return unheard("The search for offers gets no answer", err, "VAST_API_URL")
	case len(list) == 0:
		return hint(failed("Nothing that is on offer fits the settings: no job could start now."), "Widen the search: %s.", search)
	}
	cheapest := list[0]
	for _, o := range list {
		if o.HourlyUSD < cheapest.HourlyUSD {
			cheapest = o
		}
	}
	text := fmt.Sprintf("Offers that fit: %d, the cheapest at %s an hour (%s).", len(list), cheapest.HourlyUSD.Exact(), cheapest.GPU)
	if len(list) < fewOffers {
		return hint(warning("%s That is few: they may be gone when a job comes.", text), "Widen the search: %s.", search)
	}
	return ok("%s", text)
}

// fewOffers may all be gone, or fail, within an hour.
const fewOffers = 3

func image(s Seen) apigpu.Check {
	err := s.Digest.Err
	switch {
	case !s.Digest.Asked && s.NoImage != "":
		return skipped("%s", sentence(s.NoImage))
	case !s.Digest.Asked:
		return needsMarket(s)
	case errors.Is(err, gpu.ErrPlatform):
		return hint(failed("The image %s is there, but not for linux/amd64, which is what is rented.", s.Image),
			"Build it for that and push it: make docker-build-worker docker-push-worker IMAGE=%s PLATFORM=linux/amd64.", s.Image)
	case errors.Is(err, gpu.ErrNoImage):
		return hint(failed("The registry says of the image %s that it is not there, or that its login may not pull it.", s.Image),
			"Push it (make docker-push-worker IMAGE=%s), make it public, or set VAST_IMAGE_LOGIN; compare VAST_WORKER_IMAGE.", s.Image)
	case err != nil:
		return hint(warning("The registry of the image %s does not answer: whether it is there is not known: %s", s.Image, cause(err)),
			"Look at the network of this machine. Machines are rented all the same, with the image by its name.")
	}
	return ok("The image %s is there: %s.", s.Image, s.Digest.Value)
}

// clockOff is how far a clock may be off: more than an answer takes on its way,
// and less than a lease.
const clockOff = 30 * time.Second

func clock(s Seen) apigpu.Check {
	ahead := s.Ahead.Value.Round(time.Second)
	switch {
	case !s.Ahead.Asked && s.Instances.Asked:
		return skipped("Vast.ai gave no answer whose time could be compared.")
	case !s.Ahead.Asked && s.Provider == "vast":
		return needsMarket(s)
	case !s.Ahead.Asked:
		return skipped("There is no clock to compare with: PROVIDER=%s.", s.Provider)
	case ahead.Abs() > clockOff && ahead > 0:
		return hint(warning("The clock of this machine is %s behind that of Vast.ai.", ahead), "Let it be set by NTP: timedatectl set-ntp true.")
	case ahead.Abs() > clockOff:
		return hint(warning("The clock of this machine is %s ahead of that of Vast.ai.", -ahead), "Let it be set by NTP: timedatectl set-ntp true.")
	}
	return ok("The clock of this machine agrees with that of Vast.ai.")
}

// cause is an error in one line, with a period: the end of a sentence.
func cause(err error) string {
	if errors.Is(err, ErrLate) {
		return "no answer in time."
	}
	return strings.TrimSuffix(strings.Join(strings.Fields(err.Error()), " "), ".") + "."
}

// sentence begins with a capital and ends with a period, unless it begins with
// a name.
func sentence(s string) string {
	s = strings.TrimSpace(s)
	if s == "" {
		return s
	}
	if first := strings.Fields(s)[0]; strings.ToLower(first) == first && first[0] >= 'a' && first[0] <= 'z' && !strings.ContainsAny(first, "./:=") {
		s = strings.ToUpper(s[:1]) + s[1:]
	}
	if !strings.HasSuffix(s, ".") {
		s += "."
	}
	return s
}
