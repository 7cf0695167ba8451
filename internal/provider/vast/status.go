package vast

import (
	"strings"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

// dead are the states of a container from which it does not come back without
// being asked to, or that we would never want: frozen costs as much as running.
var dead = map[string]bool{"exited": true, "stopped": true, "frozen": true, "offline": true}

// running tells whether an instance works, or may come to: any status that is
// not known to be the end of it is a reason to wait, and waiting has a deadline
// elsewhere. cur_state is the hardware's and says "running" long before the
// container does; it counts for the end only.
func running(row object) bool {
	current, next := row.text("cur_state"), row.text("next_state")
	switch {
	case dead[row.text("actual_status")]:
		return false
	case current == "unloaded": // destroyed, and still listed for a moment
		return false
	case current == "stopped" && next == "stopped" && row.text("intended_status") == "stopped":
		return false // somebody stopped it: the marketplace, for want of credit, or a person
	}
	return faultOf(row) == ""
}

// started tells whether the container runs, which is when its GPU is paid for.
// A frozen one keeps its memory, and its price.
func started(row object) bool {
	status := row.text("actual_status")
	return status == "running" || status == "frozen"
}

// faultOf is what is wrong with an instance whose container does not run yet.
// Once it runs, the message is about something that is over.
func faultOf(row object) gpu.Fault {
	switch row.text("actual_status") {
	case "", "created", "loading":
		return Fault(row.text("status_msg"))
	}
	return ""
}

// The words of a fatal message, in small letters. The order of the three
// counts: a machine that cannot reach the registry says something of both.
var (
	// Docker found the image and not the program in it.
	programWords = []string{"executable file not found", "exec format error"}
	machineWords = []string{
		"oci runtime", "failed to create task", "failed to create shim", "could not apply required modification",
		"no space left", "toomanyrequests", "no such host", "i/o timeout", "tls handshake timeout", "connection refused",
		"connection reset",
	}
	imageWords = []string{
		"no such image", "manifest unknown", "no matching manifest", "name unknown", "repository does not exist",
		"pull access denied", "access to the resource is denied", "unauthorized", "invalid reference format", "denied: denied",
	}
)

// Fault recognises the status messages after which an instance will never run,
// and whose fault it is. Docker's and the registries' words are matched, not
// "error" or "failed", which the progress of a healthy download may hold.
func Fault(message string) gpu.Fault {
	said := strings.ToLower(message)
	daemon := strings.Contains(said, "error response from daemon")
	switch {
	case anyIn(said, programWords):
		return gpu.FaultImage
	case anyIn(said, machineWords):
		return gpu.FaultMachine
	case anyIn(said, imageWords), daemon && refusesPull(strings.TrimSpace(said)):
		return gpu.FaultImage
	case daemon:
		return gpu.FaultMachine
	}
	return ""
}

// refusesPull recognises the registry's "no" by how the daemon ends its
// sentence: `…/manifests/1: denied`, "ghcr.io/x/y:1: not found".
func refusesPull(said string) bool {
	return strings.HasSuffix(said, ": denied") || strings.HasSuffix(said, ": not found") ||
		strings.Contains(said, "manifest") && strings.Contains(said, "not found")
}
