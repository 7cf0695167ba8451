package vastsim

import (
	"fmt"
	"net/http"
	"time"
)

func noSuchInstance(id int64) reply {
	return failure(http.StatusNotFound, "no_such_instance", fmt.Sprintf("Instance %d not found.", id))
}

// touch records that an instance is ended or changed, and by whom.
func (s *Sim) touch(c *request, i *instance) {
	if i.foreign && c.own == nil {
		s.breach(ForeignTouched, c.note, fmt.Sprintf("instance %d is another owner's", i.id))
	}
}

// destroy answers DELETE /api/v0/instances/{id}/.
func (s *Sim) destroy(c *request) reply {
	i := s.find(c.id)
	if i == nil {
		return noSuchInstance(c.id)
	}
	s.touch(c, i)
	switch {
	case c.is(DestroyUnknown):
		return noSuchInstance(c.id)
	case c.is(DestroyRefused):
		return ok(row{"success": false, "msg": "Instance could not be destroyed."})
	case c.is(DestroyIgnored) || i.plan.IgnoresDestroy:
		c.note.Outcome = "ignored"
	default:
		s.end(i, s.now)
		c.note.Outcome = "destroyed"
	}
	return ok(row{"success": true})
}

// end ends the contract. Of a host that is offline the program ends when the
// host is back.
func (s *Sim) end(i *instance, t time.Time) {
	if i.away != offline {
		i.kill()
	}
	i.gpu.stop(t)
	i.disk.stop(t)
	i.destroyed = t
	s.release(i)
}

// change answers PUT /api/v0/instances/{id}/: a state or a label.
func (s *Sim) change(c *request) reply {
	i := s.find(c.id)
	if i == nil {
		return noSuchInstance(c.id)
	}
	body, err := readObject(c.body)
	if err != nil {
		return invalidArgs(err.Error())
	}
	s.touch(c, i)
	if label, isLabel := body["label"].(string); isLabel {
		switch {
		case c.own != nil:
			return failure(http.StatusForbidden, "auth_error", "This key is not allowed to do that.")
		case len(label) > maxLabel:
			return failure(http.StatusBadRequest, "label_too_long", "Label too long.")
		}
		i.label = label
		return ok(row{"success": true})
	}
	switch body["state"] {
	case stopped:
		i.halt(s.now, stopped)
		return ok(row{"success": true})
	case running:
		return s.start(c, i)
	}
	return invalidArgs("Invalid target state")
}

// start asks for the run of a stopped instance. Where the GPU is gone the
// wish stays: it will run, and cost, when the GPU is free again.
func (s *Sim) start(c *request, i *instance) reply {
	if s.credit(s.now) <= 0 {
		return failure(http.StatusBadRequest, "missing_billing", "You lack credit, see the billing page.")
	}
	i.taken = i.taken || c.is(StartUnavailable)
	i.intended = running
	if i.taken {
		return failure(http.StatusOK, "resources_unavailable", "Required resources are currently unavailable, state change queued.")
	}
	switch i.actual {
	case stopped, exited:
		i.load(s.now)
	case frozen:
		s.comeBack(i, s.now)
	}
	return ok(row{"success": true})
}

// logUpload is a log that a host was asked for.
type logUpload struct {
	instance int64
	at       time.Time // from when it is there
}

// requestLogs answers PUT /api/v0/instances/request_logs/{id}/. The log
// itself is written later, to an address that needs no key.
func (s *Sim) requestLogs(c *request) reply {
	i := s.find(c.id)
	if i == nil {
		return noSuchInstance(c.id)
	}
	if _, err := readObject(c.body); err != nil {
		return invalidArgs(err.Error())
	}
	name := s.secret()
	if i.away == "" { // a host that is away never delivers
		s.logs[name] = logUpload{instance: i.id, at: s.now.Add(time.Duration(s.timing.LogLag))}
	}
	return ok(row{"success": true, "result_url": s.url + "/sim/logs/" + name, "msg": "Logs requested."})
}

// serveLog is the storage to which hosts write their logs.
func (s *Sim) serveLog(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.step()
	upload, found := s.logs[r.PathValue("name")]
	if !found || s.now.Before(upload.at) {
		reply{status: http.StatusForbidden, text: "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>"}.write(w)
		return
	}
	text := ""
	for _, i := range s.instances {
		if i.id == upload.instance && i.machine != nil {
			text = i.machine.Output()
		}
	}
	reply{status: http.StatusOK, text: text + "\n"}.write(w)
}
