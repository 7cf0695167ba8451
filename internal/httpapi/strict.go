package httpapi

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/api-gpu/api-gpu"
)

// maxDepth bounds how deep a JSON body is nested. What the API takes has three
// levels.
const maxDepth = 32

// checkJSON refuses what programs read in different ways: an object that names
// a member twice, of which Go takes the last and a proxy's filter perhaps the
// first (RFC 8259, section 4, leaves it open), and nesting without end. Names
// that differ in case only are one to Go. What is no JSON passes: the decoder
// says so better.
func checkJSON(raw []byte) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	type level struct {
		object bool
		value  bool // of an object: the next token is a value
		names  map[string]bool
	}
	var levels []level
	for {
		token, err := dec.Token()
		if err != nil {
			return nil
		}
		delim, isDelim := token.(json.Delim)
		if isDelim && (delim == '}' || delim == ']') {
			if levels = levels[:len(levels)-1]; len(levels) == 0 {
				return nil // what comes after it is refused by the decoder
			}
			continue
		}
		if n := len(levels); n > 0 && levels[n-1].object {
			top := &levels[n-1]
			if !top.value {
				name, _ := token.(string)
				folded := strings.ToLower(name)
				if top.names[folded] {
					return apigpu.E(apigpu.InvalidRequest, nil, "The field %q is there twice.", echo(name)).WithField(echo(name))
				}
				top.names[folded], top.value = true, true
				continue
			}
			top.value = false
		}
		if isDelim {
			if len(levels) == maxDepth {
				return apigpu.E(apigpu.InvalidRequest, nil, "The body is nested more than %d levels deep.", maxDepth)
			}
			levels = append(levels, level{object: delim == '{', names: map[string]bool{}})
		}
	}
}
