package vastsim

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// maxMany is how many instances or offers one call can be about.
const maxMany = 64

// readMany reads the ids of a call about many.
func readMany(c *request, field string) (ids []int64, refusal *reply) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(c.body, &fields) != nil || json.Unmarshal(fields[field], &ids) != nil || len(ids) == 0 || len(ids) > maxMany {
		r := invalidArgs(fmt.Sprintf("%s must be 1 to %d ids", field, maxMany))
		return nil, &r
	}
	return ids, nil
}

// destroyMany answers DELETE /instances/.
func (s *Sim) destroyMany(c *request) reply {
	ids, refusal := readMany(c, "instance_ids")
	if refusal != nil {
		return *refusal
	}
	found := 0
	for _, id := range ids {
		if i := s.find(id); i != nil {
			found++
			s.touch(c, i)
			s.end(i, s.now)
		}
	}
	if found == 0 {
		return failure(http.StatusNotFound, "instances_not_found", "No such instances.")
	}
	return ok(row{"success": true})
}

// changeMany answers PUT /instances/: the state of many.
func (s *Sim) changeMany(c *request) reply {
	ids, refusal := readMany(c, "ids")
	if refusal != nil {
		return *refusal
	}
	results := []row{}
	for _, id := range ids {
		one := *c
		one.id = id
		result, _ := s.change(&one).body.(row)
		result["id"] = id
		results = append(results, result)
	}
	return ok(row{"success": true, "results": results})
}

// createMany answers POST /asks/bulk/: one instance of each offer, all alike.
func (s *Sim) createMany(c *request) reply {
	ids, refusal := readMany(c, "ids")
	if refusal != nil {
		return *refusal
	}
	results, made := []row{}, 0
	for _, id := range ids {
		one := *c
		one.id = id
		result, _ := s.create(&one).body.(row)
		result["ask_id"] = id
		if result["new_contract"] != nil {
			made++
		}
		results = append(results, result)
	}
	return ok(row{"success": made > 0, "results": results, "created": made, "failed": len(ids) - made, "elapsed": 0.1})
}

// reboot answers PUT /instances/reboot/{id}/: the program starts anew, and the
// GPU is paid all the time. What does not run cannot: 200 and no success.
func (s *Sim) reboot(c *request) reply { return s.restart(c, true) }

// recycle answers PUT /instances/recycle/{id}/: a new container, of an image
// that is pulled again.
func (s *Sim) recycle(c *request) reply { return s.restart(c, false) }

func (s *Sim) restart(c *request, hasImage bool) reply {
	i := s.find(c.id)
	if i == nil || i.actual != running {
		return ok(row{"success": false, "error": "invalid_args", "msg": fmt.Sprintf("Instance %d is not running.", c.id)})
	}
	s.touch(c, i)
	i.kill()
	i.restarted = hasImage
	i.load(s.now)
	return ok(row{"success": true})
}
