package vastsim

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// pair is an entry of the environment, as extra_env shows it.
type pair [2]string

// maxEnv and maxPorts are limits of the API: bytes of names and values, and
// open ports of an instance.
const (
	maxEnv   = 32768
	maxPorts = 64
)

// readEnv reads the env of a create: an object. A string, the form of
// templates, is accepted and not applied.
func readEnv(text json.RawMessage) (env []pair, applied bool, err error) {
	text = bytes.TrimSpace(text)
	if len(text) == 0 || string(text) == "null" {
		return nil, true, nil
	}
	if text[0] == '"' {
		return nil, false, nil
	}
	var object map[string]string
	if err := json.Unmarshal(text, &object); err != nil {
		return nil, false, errors.New("env must be an object of strings")
	}
	size := 0
	for _, name := range slices.Sorted(maps.Keys(object)) {
		size += len(name) + len(object[name])
		// Of docker's options only these are honoured; others are dropped.
		if strings.HasPrefix(name, "-") && !slices.Contains([]string{"-p", "-h", "-v", "-n"}, strings.Fields(name)[0]) {
			continue
		}
		env = append(env, pair{name, object[name]})
	}
	if size > maxEnv || len(portsOf(env)) > maxPorts {
		return nil, false, fmt.Errorf("env too large, or more than %d ports", maxPorts)
	}
	return env, true, nil
}

// portOption is a request for a port: "-p 3334:3334" or "-p 53:53/udp".
var portOption = regexp.MustCompile(`^-p (\d{1,5}):(\d{1,5})(/tcp|/udp)?$`)

// portsOf are the ports of the container that are opened, as "3334/tcp".
func portsOf(env []pair) (ports []string) {
	for _, p := range env {
		m := portOption.FindStringSubmatch(p[0])
		if m == nil || p[1] != "1" {
			continue
		}
		if n, _ := strconv.Atoi(m[2]); n > 0 {
			ports = append(ports, m[2]+cmp.Or(m[3], "/tcp"))
		}
	}
	return slices.Compact(ports)
}

// environment is what the program of an instance finds in its environment.
// What the platform sets wins over what was asked for.
func (i *instance) environment(address, url string, ports map[string]int) map[string]string {
	env := map[string]string{}
	for _, p := range i.order.env {
		if !strings.HasPrefix(p[0], "-") {
			env[p[0]] = p[1]
		}
	}
	id := strconv.FormatInt(i.id, 10)
	maps.Copy(env, map[string]string{
		"CONTAINER_ID": id, "CONTAINER_API_KEY": i.key, "VAST_CONTAINERLABEL": "C." + id,
		"PUBLIC_IPADDR": address, "GPU_COUNT": strconv.Itoa(i.offer.NumGPUs), "DATA_DIRECTORY": "/workspace/",
		"VAST_API_URL": url, // not theirs: it leads our worker back here
	})
	for port, external := range ports {
		number, proto, _ := strings.Cut(port, "/")
		env["VAST_"+strings.ToUpper(proto)+"_PORT_"+number] = strconv.Itoa(external)
	}
	return env
}
