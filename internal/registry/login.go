package registry

import (
	"errors"
	"strings"

	"oras.land/oras-go/v2/registry/remote/auth"
)

// errLogin repeats nothing of the login.
var errLogin = errors.New(`the login must read "-u USER -p TOKEN registry.host"`)

// parseLogin reads a login in the form of the arguments of docker login, which
// is Vast.ai's too. Without a host it is Docker Hub's.
func parseLogin(login string) (host string, c auth.Credential, err error) {
	words := strings.Fields(login)
	host = dockerHub
	for n := 0; n < len(words); n++ {
		name, value, joined := strings.Cut(words[n], "=")
		if !strings.HasPrefix(name, "-") {
			if n != len(words)-1 {
				return "", c, errLogin
			}
			host = registryHost(words[n])
			break
		}
		if !joined {
			if n++; n == len(words) {
				return "", c, errLogin
			}
			value = words[n]
		}
		switch name {
		case "-u", "--username":
			c.Username = value
		case "-p", "--password":
			c.Password = value
		default:
			return "", c, errLogin
		}
	}
	if login != "" && (c.Username == "" || c.Password == "" || host == "") {
		return "", c, errLogin
	}
	return host, c, nil
}

const dockerHub = "docker.io"

// registryHost is the host of a registry as images name it.
func registryHost(word string) string {
	host := strings.TrimPrefix(strings.TrimPrefix(word, "https://"), "http://")
	host, _, _ = strings.Cut(host, "/")
	if host == "index.docker.io" || host == "registry-1.docker.io" {
		return dockerHub
	}
	return host
}
