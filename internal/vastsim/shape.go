package vastsim

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// shape is what kinds of values were seen at each path of some answers:
// "instances[running].ports" → null, object. It says nothing of the values.
type shape struct {
	kinds   map[string]map[string]bool
	objects map[string]int // how many objects were seen at a path
	members map[string]int // how often a member was, at its path
}

func newShape() *shape {
	return &shape{kinds: map[string]map[string]bool{}, objects: map[string]int{}, members: map[string]int{}}
}

// absent is the kind of a member that some objects lack.
const absent = "absent"

// dataKeys are members whose own members are named by data.
var dataKeys = map[string]string{"ports": "{port}", "label_counts": "{label}", "env": "{name}"}

// add takes note of an answer.
func (s *shape) add(raw []byte) {
	var v any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if d.Decode(&v) == nil {
		s.value("", v)
	}
}

func (s *shape) value(path string, v any) {
	kind := "null"
	switch v := v.(type) {
	case bool:
		kind = "bool"
	case string:
		kind = "string"
	case json.Number:
		kind = "number"
	case []any:
		kind = "array"
		for _, each := range v {
			s.value(path+"["+stateOf(each)+"]", each)
		}
	case map[string]any:
		kind = "object"
		s.objects[path]++
		s.object(path, v)
	}
	if s.kinds[path] == nil {
		s.kinds[path] = map[string]bool{}
	}
	s.kinds[path][kind] = true
}

func (s *shape) object(path string, o map[string]any) {
	last := path[strings.LastIndexAny(path, ".]")+1:]
	for name, each := range o {
		if data := dataKeys[last]; data != "" {
			name = data
		}
		member := strings.TrimPrefix(path+"."+name, ".")
		s.members[member]++
		s.value(member, each)
	}
}

// stateOf tells instances apart by their state: what they show depends on it.
func stateOf(v any) string {
	o, _ := v.(map[string]any)
	state, has := o["actual_status"]
	if !has {
		return ""
	}
	if word, ok := state.(string); ok {
		return word
	}
	return "null"
}

// parent is the path of the object that a member belongs to.
func parent(path string) string {
	if at := strings.LastIndex(path, "."); at >= 0 {
		return path[:at]
	}
	return ""
}

// at is what was seen at a path, in order.
func (s *shape) at(path string) []string {
	seen := maps.Clone(s.kinds[path])
	if seen == nil {
		seen = map[string]bool{}
	}
	up := parent(path)
	if !strings.HasSuffix(path, "]") && !strings.HasSuffix(path, "}") && s.members[path] < s.objects[up] {
		seen[absent] = true
	}
	return slices.Sorted(maps.Keys(seen))
}

// mismatch is a path at which two shapes differ.
type mismatch struct {
	path       string
	real, ours []string
}

// against returns where another shape differs. Where one of them has seen
// nothing, as in a list that was empty, nothing is said.
func (s *shape) against(ours *shape) (all []mismatch) {
	paths := maps.Clone(s.kinds)
	maps.Copy(paths, ours.kinds)
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		real, sim := s.at(path), ours.at(path)
		up := parent(path)
		switch {
		case slices.Equal(real, sim):
		case path != "" && (s.objects[up] == 0 || ours.objects[up] == 0) && !strings.HasSuffix(path, "]"):
		case strings.HasSuffix(path, "]") && (len(real) == 0 || len(sim) == 0):
		case strings.HasSuffix(path, "}") && (len(real) == 0 || len(sim) == 0):
		default:
			all = append(all, mismatch{path, real, sim})
		}
	}
	return all
}

// unseen are the states in which the one shape has instances and the other has
// none.
func (s *shape) unseen(ours *shape, list string) (states []string) {
	for path := range s.objects {
		rest, ok := strings.CutPrefix(path, list+"[")
		if ok && strings.HasSuffix(rest, "]") && ours.objects[path] == 0 {
			states = append(states, strings.TrimSuffix(rest, "]"))
		}
	}
	slices.Sort(states)
	return states
}
