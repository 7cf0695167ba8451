package vastsim

import (
	"maps"
	"strconv"
	"time"
)

// Words of actual_status, intended_status and cur_state. A contract that is
// being provisioned has no status: null.
const (
	provisioning = ""
	created      = "created"
	loading      = "loading"
	running      = "running"
	stopped      = "stopped"
	frozen       = "frozen"
	exited       = "exited"
	offline      = "offline"
	unknown      = "unknown"
)

// instance is a contract, from its creation for ever.
type instance struct {
	id      int64
	label   string
	offer   Offer // as it was when it was rented
	order   order
	key     string
	foreign bool // another owner's
	plan    Behaviour

	created   time.Time
	destroyed time.Time // zero while the contract exists
	intended  string
	actual    string
	since     time.Time // since when actual is so
	msg       string
	taken     bool // the GPU belongs to somebody else now
	restarted bool // it has the image: loading is short
	// away hides what the host does while nobody hears of it: offline or
	// unknown, over actual.
	away string

	machine Machine   // nil until it ran
	past    []Machine // of runs before
	sent    transfer
	gpu     meter
	disk    meter
	traffic []transfer
}

// status is what actual_status says.
func (i *instance) status() string {
	if i.away != "" {
		return i.away
	}
	return i.actual
}

// turn changes the status.
func (i *instance) turn(at time.Time, to, msg string) {
	i.actual, i.since, i.msg = to, at, msg
}

// halt stops the container: its program ends, its disk stays and costs.
func (i *instance) halt(at time.Time, to string) {
	i.kill()
	i.gpu.stop(at)
	i.intended = stopped
	i.turn(at, to, "")
}

// kill ends the program; Ended of the machine tells when that is done.
func (i *instance) kill() {
	if i.machine != nil {
		i.machine.Stop()
	}
}

// hostPorts are the external ports, by "3334/tcp"; nil while there are none.
func (i *instance) hostPorts() map[string]int {
	if i.machine == nil || i.actual != running {
		return nil
	}
	return i.machine.Ports()
}

// row is the instance as lists and single calls show it.
func (s *Sim) row(i *instance) row {
	o, t := i.offer, s.now
	r := o.row(i.created, *i.order.Disk, i.order.Price != nil)
	storage := dollars(i.disk.hourly)
	start, age := epoch(i.created), t.Sub(i.created).Seconds()
	env := []pair{}
	env = append(env, i.order.env...)
	maps.Copy(r, row{
		"id": i.id, "label": orNull(i.label), "actual_status": orNull(i.status()), "intended_status": i.intended,
		"cur_state": i.allocation(), "next_state": i.intended, "status_msg": orNull(i.statusMessage(t)),
		"public_ipaddr": nil, "ports": row{}, "direct_port_start": -1, "direct_port_end": -1,
		"image_uuid": i.order.Image, "image_runtype": i.order.Runtype, "image_args": i.order.Args, "onstart": orNull(i.order.Onstart),
		"extra_env": env, "start_date": start, "end_date": start + o.Duration, "duration": age,
		"dph_base": dollars(i.gpu.hourly), "dph_total": dollars(i.gpu.hourly) + storage, "storage_total_cost": storage,
		"disk_space": *i.order.Disk, "disk_usage": -1, "disk_util": -1, "gpu_util": nil, "cpu_util": nil, "uptime_mins": nil,
		"ssh_host": "ssh5.vast.ai", "ssh_port": 30000 + i.id%10000, "local_ipaddrs": "192.168.1.7 172.17.0.1 \n",
		"country_code": country(o.Geolocation), "template_id": nil, "volume_info": []any{},
	})
	delete(r, "ask_contract_id")
	delete(r, "rented")
	if i.status() == provisioning {
		r["ports"] = nil
	}
	if i.actual == loading || i.actual == running && i.plan.Fails != NoAddress && i.plan.Fails != NoPorts {
		r["public_ipaddr"] = s.address(i) + "\n" // as hosts report it
	}
	if ports := i.hostPorts(); ports != nil && i.away == "" {
		published := row{}
		for port, external := range s.published(i, ports) {
			n := strconv.Itoa(external)
			published[port] = []row{{"HostIp": "0.0.0.0", "HostPort": n}, {"HostIp": "::", "HostPort": n}}
		}
		r["ports"] = published
	}
	return r
}

// allocation is cur_state: what the hardware is reserved for, which says
// nothing about the program.
func (i *instance) allocation() string {
	switch {
	case !i.destroyed.IsZero():
		return "unloaded"
	case i.intended == stopped, i.actual == stopped:
		return stopped
	}
	return running
}

// statusMessage is the free text about the state.
func (i *instance) statusMessage(t time.Time) string {
	if i.msg != "" || i.actual != loading {
		return i.msg
	}
	steps := []string{"Pulling fs layer", "Downloading", "Verifying Checksum", "Extracting", "Pull complete"}
	n := int(t.Sub(i.since) / time.Second)
	return "a1b2c3d4e5f" + strconv.Itoa(n%10) + ": " + steps[n%len(steps)] + "\n"
}

func (s *Sim) address(i *instance) string {
	if s.cfg.Address != "" {
		return s.cfg.Address
	}
	return i.offer.PublicIPAddr
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// epoch is a time as the API writes it: seconds with a fraction.
func epoch(t time.Time) float64 { return float64(t.UnixNano()) / 1e9 }
