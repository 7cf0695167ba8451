package vastsim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

// order is the body of a create.
type order struct {
	Image         string          `json:"image"`
	TemplateHash  string          `json:"template_hash_id"`
	Label         string          `json:"label"`
	Disk          *float64        `json:"disk"`
	Env           json.RawMessage `json:"env"`
	Runtype       string          `json:"runtype"`
	UseSSH        *bool           `json:"use_ssh"`
	Onstart       string          `json:"onstart"`
	Args          []string        `json:"args"`
	ArgsStr       string          `json:"args_str"`
	ImageLogin    string          `json:"image_login"`
	Price         *float64        `json:"price"`
	CancelUnavail *bool           `json:"cancel_unavail"`
	TargetState   string          `json:"target_state"`

	env []pair // what is applied
}

// runtypes are those of the documentation, and what the client of Vast.ai
// sends: the spelling "direc" is theirs.
var runtypes = []string{
	"", "ssh", "jupyter", "args", "ssh_proxy", "ssh_direct", "jupyter_proxy", "jupyter_direct",
	"ssh_direc ssh_proxy", "jupyter_direc ssh_direc ssh_proxy",
}

// Limits of a create.
const (
	minDisk     = 8 // GB, and the default
	maxLabel    = 256
	maxImage    = 1024
	maxCommand  = 4096 // args, args_str and onstart together
	minBidPrice = 0.001
	maxBidPrice = 128
)

// readOrder reads the body of a create. It returns the refusal of what the
// API does not accept.
func (s *Sim) readOrder(c *request) (o order, refusal *reply) {
	refuse := func(r reply) (order, *reply) { return o, &r }
	if err := json.Unmarshal(c.body, &o); err != nil {
		return refuse(invalidArgs(invalidJSON))
	}
	var applied bool
	var err error
	if o.env, applied, err = readEnv(o.Env); err != nil {
		return refuse(invalidArgs(err.Error()))
	}
	if !applied {
		s.breach(EnvIgnored, c.note, "env must be a JSON object here")
	}
	s.judge(c, o)
	if o.Disk == nil {
		o.Disk = new(float64)
		*o.Disk = minDisk
	}
	if o.Runtype == "" && len(o.Args) == 0 && o.ArgsStr == "" {
		o.Runtype = "ssh"
	} else if o.Runtype == "" {
		o.Runtype = "args"
	}
	command := len(o.ArgsStr) + len(o.Onstart)
	for _, a := range o.Args {
		command += len(a)
	}
	switch {
	case o.Image == "" && o.TemplateHash == "":
		return refuse(failure(http.StatusInternalServerError, "server_error", "Something went wrong."))
	case o.UseSSH != nil && c.has("runtype"):
		return refuse(invalidArgs("runtype and use_ssh cannot both be set"))
	case !slices.Contains(runtypes, o.Runtype):
		return refuse(invalidArgs("Invalid runtype: " + o.Runtype))
	case len(o.Image) > maxImage || len(o.Label) > maxLabel || command > maxCommand:
		return refuse(invalidArgs("image, label or command too long"))
	case *o.Disk < minDisk:
		return refuse(invalidArgs(fmt.Sprintf("disk must be at least %d", minDisk)))
	case o.Price != nil && (*o.Price < minBidPrice || *o.Price > maxBidPrice):
		return refuse(failure(http.StatusBadRequest, "invalid_price", "price out of range"))
	case !slices.Contains([]string{"", "running", "stopped"}, o.TargetState):
		return refuse(invalidArgs("Invalid target state"))
	}
	return o, nil
}

// orderFields are the fields that a create may have.
var orderFields = []string{
	"client_id", "image", "template_hash_id", "template_id", "label", "disk", "env", "runtype", "use_ssh", "onstart", "args", "args_str",
	"image_login", "price", "cancel_unavail", "target_state", "vm", "user", "python_utf8", "lang_utf8", "use_jupyter_lab", "jupyter_dir",
	"force", "extra", "create_from", "volume_info", "id", "ids",
}

// judge notes what a create does that the API lets pass, and a careful client
// does not do.
func (s *Sim) judge(c *request, o order) {
	var fields map[string]json.RawMessage
	_ = json.Unmarshal(c.body, &fields)
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if !slices.Contains(orderFields, name) {
			s.breach(UnknownField, c.note, name)
		}
	}
	if o.CancelUnavail == nil || !*o.CancelUnavail {
		s.breach(MayBeStopped, c.note, "without cancel_unavail a GPU that is taken is paid for as a stopped instance")
	}
	if bytes.Contains(c.body, []byte(s.cfg.Key)) {
		s.breach(KeyInInstance, c.note, "the account's key must not be on a rented machine")
	}
	for _, p := range o.env {
		if strings.HasPrefix(p[0], "-p") && (!portOption.MatchString(p[0]) || p[1] != "1") {
			s.breach(EnvIgnored, c.note, fmt.Sprintf("%q: %q opens no port", p[0], p[1]))
		}
	}
}

// has tells whether the body names a field.
func (c *request) has(field string) bool {
	var fields map[string]json.RawMessage
	_ = json.Unmarshal(c.body, &fields)
	value, found := fields[field]
	return found && string(value) != "null"
}

// create answers PUT /asks/{id}/. It is not idempotent.
func (s *Sim) create(c *request) reply {
	o, refusal := s.readOrder(c)
	if refusal != nil {
		return *refusal
	}
	switch {
	case o.Label == "":
		s.breach(Unlabelled, c.note, "nobody can find it again if the answer is lost")
	case s.labels[o.Label]:
		s.breach(CreateRetried, c.note, "an earlier create with this label took effect")
	}
	offer := s.offer(c.id)
	if offer == nil || c.is(CreateVanished) {
		return s.gone(c.id)
	}
	wanted := *o.Disk
	if wanted > offer.DiskSpace {
		return invalidArgs("disk larger than the offer has")
	}
	if refusal := s.broke(offer, wanted); refusal != nil {
		return *refusal
	}
	low := o.Price != nil && *o.Price < offer.MinBid
	unavailable := offer.Busy || low
	cancel := o.Price == nil && o.TargetState != "stopped"
	if o.CancelUnavail != nil {
		cancel = *o.CancelUnavail
	}
	if unavailable && cancel {
		return failure(http.StatusGone, "no_such_ask", fmt.Sprintf("error 410/3907: no_such_ask Instance type %d is no longer available.", c.id))
	}
	return s.accept(c, o, offer, unavailable)
}

// gone is the answer for an offer that is not there, in the forms that were
// seen: "404", "400", and with the error "invalid_args".
func (s *Sim) gone(id int64) reply {
	status, code := http.StatusNotFound, "no_such_ask"
	msg := fmt.Sprintf("error 404/3603: no_such_ask Instance type by id %d is not available.", id)
	switch s.goneForm {
	case "400":
		status, msg = http.StatusBadRequest, fmt.Sprintf("No ask by id %d is available.", id)
	case "invalid_args":
		status, code = http.StatusBadRequest, "invalid_args"
	}
	r := failure(status, code, msg)
	r.body.(row)["ask_id"] = id
	return r
}

// broke is the refusal for want of credit, or above the account's limit.
func (s *Sim) broke(o *Offer, disk float64) *reply {
	if s.credit(s.now) <= 0 {
		r := failure(http.StatusBadRequest, "insufficient_credit", "Your account lacks credit; see the billing page.")
		return &r
	}
	gpuRate, diskRate := s.rates()
	if s.spendLimit > 0 && gpuRate+diskRate+usd(o.DPHBase)+o.storageHour(disk) > s.spendLimit {
		r := failure(http.StatusBadRequest, "spend_rate_limit", "Your account's spend rate limit would be exceeded.")
		return &r
	}
	return nil
}

// accept makes what was ordered, or what a fault makes of it.
func (s *Sim) accept(c *request, o order, offer *Offer, unavailable bool) reply {
	if o.Label != "" {
		s.labels[o.Label] = true
	}
	if c.is(CreateLate) {
		offer.rented = true
		s.late = append(s.late, lateCreate{at: s.now.Add(time.Duration(c.fault.Delay)), order: o, offer: *offer})
		c.note.Outcome = "created late"
		return failure(http.StatusInternalServerError, "server_error", "Something went wrong.")
	}
	if c.is(CreateTwice) {
		s.rent(o, *offer, s.now)
	}
	i := s.rent(o, *offer, s.now)
	offer.rented = true
	c.note.ID, c.note.Outcome = i.id, "created"
	switch {
	case c.is(CreateErrorWithID):
		r := failure(http.StatusInternalServerError, "server_error", "Something went wrong.")
		r.body.(row)["new_contract"] = i.id
		return r
	case unavailable || o.TargetState == "stopped" || c.is(CreateStopped):
		i.taken = unavailable || c.is(CreateStopped)
		i.halt(s.now, stopped)
		c.note.Outcome = "created, stopped"
		return ok(row{"success": false, "new_contract": i.id, "instance_api_key": i.key})
	}
	return ok(row{"success": true, "new_contract": i.id, "instance_api_key": i.key})
}

// rent makes the contract.
func (s *Sim) rent(o order, offer Offer, at time.Time) *instance {
	i := &instance{
		id: s.id(), label: o.Label, offer: offer, order: o, key: s.secret(), created: at, since: at, intended: running,
		plan: s.planFor(o.Label, offer.MachineID),
	}
	hourly := usd(offer.DPHBase)
	if o.Price != nil {
		hourly = usd(*o.Price)
	}
	if f := i.plan.PriceFactor; f > 0 {
		hourly = gpu.USD(float64(hourly) * f)
	}
	i.gpu.hourly, i.disk.hourly = hourly, offer.storageHour(*o.Disk)
	i.disk.start(at)
	s.instances = append(s.instances, i)
	return i
}

// lateCreate is an instance that will exist though its create failed.
type lateCreate struct {
	at    time.Time
	order order
	offer Offer
}
