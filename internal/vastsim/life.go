package vastsim

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// How a host can fail an instance.
const (
	Never       = "never"       // no status for ever
	Stuck       = "stuck"       // loading for ever, with progress
	DockerFails = "oci"         // created, with an error of the container runtime
	NoImage     = "manifest"    // the image does not exist
	Denied      = "denied"      // the registry refuses
	TooMany     = "toomany"     // the registry limits
	NoDNS       = "dns"         // the host does not find the registry
	NoAddress   = "no_address"  // running, without address and ports
	NoPorts     = "no_ports"    // the same, of an offer without direct ports
	WrongPort   = "wrong_port"  // the external port is somebody else's
	Unreachable = "unreachable" // nothing answers at the external port
	ExitsAtOnce = "exits"       // the program ends as soon as it runs
)

// Behaviour is what an instance does beyond the typical.
type Behaviour struct {
	// Provision, Create and Pull take the place of the Timing's.
	Provision Duration `json:"provision"`
	Create    Duration `json:"create"`
	Pull      Duration `json:"pull"`
	// Fails is one of the words above, or empty.
	Fails string `json:"fails"`
	// Then is a deed, as of Do, that happens After so much time of running.
	Then  string   `json:"then"`
	After Duration `json:"after"`
	// PriceFactor multiplies the price after the offer was taken; 0 is 1.
	PriceFactor float64 `json:"price_factor"`
	// IgnoresDestroy makes each destroy succeed without effect.
	IgnoresDestroy bool `json:"ignores_destroy"`
}

// Failures are all ways in which a host can fail an instance.
func Failures() []string {
	return []string{Never, Stuck, DockerFails, NoImage, Denied, TooMany, NoDNS, NoAddress, NoPorts, WrongPort, Unreachable, ExitsAtOnce}
}

func (b Behaviour) check() error {
	if b.Fails != "" && !slices.Contains(Failures(), b.Fails) {
		return fmt.Errorf("a host cannot fail by %q", b.Fails)
	}
	if b.Then != "" && !slices.Contains(deeds, b.Then) {
		return fmt.Errorf("deed %q is not known", b.Then)
	}
	return nil
}

// complaints are the messages of the ways to fail that have one.
var complaints = map[string]string{
	DockerFails: "Error response from daemon: failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process",
	NoImage:     "Error response from daemon: manifest for %s not found: manifest unknown: manifest unknown\n",
	Denied:      "Error response from daemon: pull access denied for %s, repository does not exist or may require 'docker login': denied: requested access to the resource is denied\n",
	TooMany:     "Error response from daemon: toomanyrequests: You have reached your pull rate limit for %s\n",
	NoDNS:       "Error response from daemon: Get \"https://ghcr.io/v2/\": dial tcp: lookup ghcr.io: no such host (%s)\n",
}

// giveUp is how long after a failed pull Vast stops an instance.
const giveUp = 7 * time.Minute

// next is the change that the instance makes by itself, if any.
func (s *Sim) next(i *instance) (at time.Time, change func(time.Time)) {
	if !i.destroyed.IsZero() || i.away != "" {
		return at, nil
	}
	wait := func(own, typical Duration) time.Time {
		if own != 0 {
			typical = own
		}
		return i.since.Add(time.Duration(typical))
	}
	switch i.actual {
	case provisioning:
		if i.plan.Fails != Never && i.intended == running {
			return wait(i.plan.Provision, s.timing.Provision), func(t time.Time) {
				i.turn(t, created, "")
				if i.plan.Fails == DockerFails {
					i.msg = complaints[DockerFails]
				}
			}
		}
	case created:
		if i.plan.Fails != DockerFails {
			return wait(i.plan.Create, s.timing.Create), func(t time.Time) { i.load(t) }
		}
	case loading:
		switch {
		case i.msg != "":
			return i.since.Add(giveUp), func(t time.Time) { i.halt(t, stopped) }
		case i.restarted:
			return wait(i.plan.Create, s.timing.Create), func(t time.Time) { s.boot(i, t) }
		case i.plan.Fails != Stuck:
			return wait(i.plan.Pull, s.timing.Pull), func(t time.Time) { s.boot(i, t) }
		}
	case running:
		if i.plan.Then != "" {
			return i.since.Add(time.Duration(i.plan.After)), func(t time.Time) {
				then := i.plan.Then
				i.plan.Then = ""
				_ = s.do(i, Deed{Do: then}, t) // checked when it was planned
			}
		}
	case stopped:
		if i.intended == running && !i.taken { // a queued start
			return s.now, func(t time.Time) { i.load(t) }
		}
	}
	return at, nil
}

// load begins the pull of the image.
func (i *instance) load(t time.Time) {
	i.turn(t, loading, "")
	if i.plan.Fails == DockerFails { // which happens after the pull
		i.turn(t, created, complaints[DockerFails])
		return
	}
	if text := complaints[i.plan.Fails]; text != "" {
		i.msg = fmt.Sprintf(text, i.order.Image)
	}
}

// boot starts the program.
func (s *Sim) boot(i *instance, t time.Time) {
	if !i.restarted && s.imageBytes > 0 { // the pull is paid like any download
		i.traffic = append(i.traffic, transfer{at: t, down: s.imageBytes})
	}
	i.restarted = true
	i.turn(t, running, "success, running "+i.order.Image+"/"+i.order.Runtype)
	i.gpu.start(t)
	if i.plan.Fails == ExitsAtOnce {
		i.exit(t)
		return
	}
	m, err := s.cfg.Machines.Start(Program{
		ID: i.id, Label: i.label, Image: i.order.Image, Args: i.order.Args, Ports: portsOf(i.order.env), Reachable: i.plan.Fails != Unreachable,
		Environment: func(ports map[string]int) map[string]string { return i.environment(s.address(i), s.url, ports) },
	})
	if err != nil {
		i.gpu.stop(t)
		i.turn(t, created, complaints[DockerFails]+": "+err.Error())
		i.plan.Fails = DockerFails
		return
	}
	if i.machine != nil {
		i.past = append(i.past, i.machine)
	}
	i.machine, i.sent = m, transfer{}
}

// exit is the end of the program: the disk stays and costs.
func (i *instance) exit(t time.Time) {
	i.kill()
	i.gpu.stop(t)
	i.turn(t, exited, "")
}

// published are the external ports as they are told.
func (s *Sim) published(i *instance, ports map[string]int) map[string]int {
	switch i.plan.Fails {
	case NoAddress, NoPorts:
		return nil
	case WrongPort:
		wrong := map[string]int{}
		for port := range ports {
			wrong[port] = s.ownPort()
		}
		return wrong
	}
	return ports
}

// ownPort is where the market itself listens: a server that is no worker.
func (s *Sim) ownPort() int {
	u, err := url.Parse(s.url)
	if err != nil {
		return 1
	}
	if n, err := strconv.Atoi(u.Port()); err == nil {
		return n
	}
	return 1
}

// observe takes note of what the machines did by themselves.
func (s *Sim) observe(t time.Time) {
	for _, i := range s.instances {
		if i.machine == nil {
			continue
		}
		down, up := i.machine.Traffic()
		at := t
		if !i.destroyed.IsZero() { // the last bytes belong to its time
			at = i.destroyed
		}
		if d := (transfer{at: at, down: down - i.sent.down, up: up - i.sent.up}); d.down > 0 || d.up > 0 {
			i.traffic = append(i.traffic, d)
			i.sent = transfer{down: down, up: up}
		}
		if i.actual == running && i.destroyed.IsZero() && i.away == "" && ended(i.machine) {
			i.exit(t)
		}
	}
}

// step brings everything to now: one change after the other, in the order of
// their times, and in between the end of the credit.
func (s *Sim) step() {
	to := s.time()
	if s.isClosed || to.Before(s.now) {
		return
	}
	for {
		at, change := s.first(to)
		if s.exhaust(at) {
			continue
		}
		s.now = at
		if change == nil {
			break
		}
		change(at)
	}
	s.observe(to)
}

// first is the next change until a time, or that time and nil.
func (s *Sim) first(to time.Time) (at time.Time, change func(time.Time)) {
	at = to
	consider := func(t time.Time, do func(time.Time)) {
		if t = later(t, s.now); do != nil && (t.Before(at) || change == nil && t.Equal(at)) {
			at, change = t, do
		}
	}
	for n, l := range s.late {
		consider(l.at, func(t time.Time) {
			s.late = slices.Delete(s.late, n, n+1)
			s.rent(l.order, l.offer, t)
		})
	}
	for n, e := range s.events {
		consider(e.at, func(t time.Time) {
			s.events = slices.Delete(s.events, n, n+1)
			s.happen(e, t)
		})
	}
	for _, i := range s.instances {
		consider(s.next(i))
		if i.pays() { // until the offer's end, and no longer
			consider(i.created.Add(time.Duration(i.offer.Duration*float64(time.Second))), func(t time.Time) { i.halt(t, stopped) })
		}
	}
	return at, change
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// exhaust stops everything at the moment the credit ends, if that is before
// a time. Disks go on costing.
func (s *Sim) exhaust(to time.Time) bool {
	if s.credit(to) > 0 || !slices.ContainsFunc(s.instances, (*instance).pays) {
		return false
	}
	low, high := s.now, to
	for high.Sub(low) > time.Millisecond {
		if middle := low.Add(high.Sub(low) / 2); s.credit(middle) > 0 {
			low = middle
		} else {
			high = middle
		}
	}
	s.now = high
	for _, i := range s.instances {
		if i.pays() {
			i.halt(high, stopped)
		}
	}
	s.cfg.Log.Warn("the credit is used up: everything was stopped")
	return true
}

// pays tells whether the end of the credit, or of its time, stops it.
func (i *instance) pays() bool {
	return i.destroyed.IsZero() && i.intended != stopped && i.away == ""
}

// planFor is what an instance that is made now will do.
func (s *Sim) planFor(label string, machine int64) Behaviour {
	for n, b := range s.boots {
		if b.Label != "" && b.Label != label || b.MachineID != 0 && b.MachineID != machine {
			continue
		}
		if b.Times > 0 {
			b.Times--
		}
		if b.Times == 0 {
			s.boots = slices.Delete(s.boots, n, n+1)
		}
		return b.Behaviour
	}
	return Behaviour{}
}
