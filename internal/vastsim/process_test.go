package vastsim

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu/test/need"
)

// role makes the test binary play a worker.
const role = "VASTSIM_TEST_ROLE"

// playWorker does what the real one promises, with a child in its group. It
// answers with its environment.
func playWorker() {
	switch os.Getenv(role) {
	case "child":
		<-time.After(time.Minute)
		return
	case "owner":
		playOwner()
		return
	}
	children := []int{}
	if os.Getenv(role) != "lone" {
		self, _ := os.Executable()
		child := exec.Command(self)
		child.Env = append(os.Environ(), role+"=child")
		if err := child.Start(); err != nil {
			panic(err)
		}
		children = append(children, child.Process.Pid)
	}
	fmt.Println("started")
	l, err := net.Listen("tcp", os.Getenv("HOST")+":"+os.Getenv("PORT"))
	if err != nil {
		panic(err)
	}
	file := os.Getenv("PORT_FILE")
	_ = os.WriteFile(file+".new", []byte(strconv.Itoa(l.Addr().(*net.TCPAddr).Port)), 0o600)
	_ = os.Rename(file+".new", file)
	time.AfterFunc(time.Minute, func() { os.Exit(1) }) // a failed test leaves nothing
	_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/exit" {
			os.Exit(0)
		}
		fmt.Fprintln(w, strings.Trim(fmt.Sprint(append(children, os.Getpid())), "[]"))
		fmt.Fprintln(w, strings.Join(os.Environ(), "\n"))
	}))
}

// playOwner runs a worker, says its address, and waits to be killed.
func playOwner() {
	p := &Processes{Binary: os.Args[0], Dir: os.Getenv("OWNER_DIR"), Env: os.Environ()}
	m, err := p.Start(Program{ID: 1, Ports: []string{"3334/tcp"}, Reachable: true, Environment: func(map[string]int) map[string]string {
		// A worker's children must see to their own end, as its FFmpeg does.
		return map[string]string{role: "lone"}
	}})
	if err != nil {
		panic(err)
	}
	fmt.Println(m.Ports()["3334/tcp"])
	<-time.After(time.Minute)
	m.Stop()
}

// newProcessRig is a market of real processes in real time.
func newProcessRig(t *testing.T, binary string, env ...string) (*rig, string) {
	t.Helper()
	dir := t.TempDir()
	quick := Timing{Provision: 1, Create: 1, Pull: 1, ListLag: 1, DestroyLag: 1, ChargeLag: 1, LogLag: 1}
	r := newRig(t, Scenario{Timing: quick})
	r.cfg.Machines = &Processes{Binary: binary, Dir: dir, Env: append(os.Environ(), env...)}
	r.cfg.Now, r.cfg.Address = time.Now, loopback
	return r, dir
}

// until looks until something is so.
func until(t *testing.T, what string, so func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 3000 {
		if so() {
			return
		}
		<-tick.C
	}
	t.Fatalf("never %s", what)
}

// address is the public URL of an instance's worker; empty until it has one.
func (r *rig) address(id string) string {
	i := r.show(id)
	ports, _ := i["ports"].(map[string]any)
	list, _ := ports["3334/tcp"].([]any)
	if len(list) == 0 {
		return ""
	}
	return "http://" + strings.TrimSpace(i["public_ipaddr"].(string)) + ":" + list[0].(map[string]any)["HostPort"].(string)
}

func (r *rig) get(url string) (string, bool) {
	a := (&rig{TB: r.TB, url: url, client: r.client}).as("", "GET", "", nil)
	return a.text, a.err == nil && a.status != 0
}

func alive(pid string) bool {
	text, err := os.ReadFile("/proc/" + pid + "/stat")
	return err == nil && !strings.Contains(string(text), ") Z ")
}

// rentProcess rents a machine whose worker is this test binary.
func (r *rig) rentProcess(label string) (id string) {
	r.Helper()
	a := r.must("PUT", "/api/v0/asks/"+r.ask()+"/", body(label, func(b row) {
		b["env"] = row{role: "worker", "TOKEN": "x", "CONTAINER_ID": "mine", "-p 3334:3334": "1"}
	}))
	return number(a["new_contract"])
}

// A process is what the API says: reached at the published port, with the
// environment of a container, and gone with all its own after the destroy.
func TestProcess(t *testing.T) {
	t.Parallel()
	r, dir := newProcessRig(t, os.Args[0], "SECRET_OF_OURS=x")
	id := r.rentProcess("a")
	var page, url string
	until(t, "answered", func() bool {
		if url = r.address(id); url == "" {
			return false
		}
		page, _ = r.get(url)
		return page != ""
	})
	lines := strings.Split(page, "\n")
	for _, want := range []string{
		"TOKEN=x", "CONTAINER_ID=" + id, "VAST_CONTAINERLABEL=C." + id, "PUBLIC_IPADDR=127.0.0.1", "GPU_COUNT=1", "VAST_API_URL=" + r.url,
		"VAST_TCP_PORT_3334=" + url[strings.LastIndex(url, ":")+1:], "HOST=127.0.0.1", "PORT=0",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("the environment lacks %s", want)
		}
	}
	if strings.Contains(page, "SECRET_OF_OURS") || !strings.Contains(page, "CONTAINER_API_KEY=") {
		t.Errorf("the environment is %s", page)
	}
	if cost := r.Truth().Instances[0].Cost; cost.Up == 0 {
		t.Errorf("traffic was not counted: %+v", cost)
	}
	r.must("DELETE", "/api/v0/instances/"+id+"/", nil)
	pids := strings.Fields(lines[0])
	if runtime.GOOS == "linux" {
		for _, pid := range pids {
			until(t, "ended "+pid, func() bool { return !alive(pid) })
		}
	}
	until(t, "ended", func() bool { return !r.Truth().Instances[0].Running })
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left are %v, %v", left, err)
	}
	if _, answers := r.get(url); answers {
		t.Error("something still answers")
	}
}

func TestProcessThatExits(t *testing.T) {
	t.Parallel()
	r, _ := newProcessRig(t, os.Args[0])
	id := r.rentProcess("a")
	until(t, "ran", func() bool { url := r.address(id); _, answers := r.get(url); return url != "" && answers })
	url := r.address(id)
	r.get(url + "/exit")
	until(t, "exited", func() bool { return r.status(id) == "exited" })
	log := r.must("PUT", "/api/v0/instances/request_logs/"+id+"/", "{}")
	until(t, "written", func() bool { text, _ := r.get(log["result_url"].(string)); return strings.Contains(text, "started") })
	// Its contract goes on, and it can be started again.
	r.must("PUT", "/api/v0/instances/"+id+"/", `{"state":"running"}`)
	until(t, "ran again", func() bool { url := r.address(id); _, answers := r.get(url); return url != "" && answers })
}

// A host that is lost cannot be reached, and what it runs lives on: the
// zombie of a contract that was destroyed ends when the host is back.
func TestProcessOfALostHost(t *testing.T) {
	t.Parallel()
	r, _ := newProcessRig(t, os.Args[0])
	id := r.rentProcess("a")
	until(t, "ran", func() bool { url := r.address(id); page, _ := r.get(url); return url != "" && page != "" })
	url, known := r.address(id), r.Truth().Instances[0]
	if err := r.Do(known.ID, Deed{Do: DoOffline}); err != nil {
		t.Fatal(err)
	}
	if page, answers := r.get(url); answers {
		t.Errorf("a lost host answers %q", page)
	}
	r.must("DELETE", "/api/v0/instances/"+id+"/", nil)
	if now := r.Truth().Instances[0]; now.Alive || !now.Running {
		t.Errorf("destroyed while away: %+v", now)
	}
	if err := r.Do(known.ID, Deed{Do: DoReturn}); err != nil {
		t.Fatal(err)
	}
	until(t, "ended", func() bool { return !r.Truth().Instances[0].Running })
}

// Whatever ends the market ends its workers: there is nobody else to do it.
func TestProcessDiesWithItsOwner(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells a process of its parent's death")
	}
	owner := exec.Command(os.Args[0])
	owner.Env = append(os.Environ(), role+"=owner", "OWNER_DIR="+t.TempDir())
	says, err := owner.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	port, err := bufio.NewReader(says).ReadString('\n')
	if err != nil {
		t.Error(err)
	}
	r := newRig(t, Scenario{})
	var page string
	until(t, "answered", func() bool { page, _ = r.get("http://127.0.0.1:" + strings.TrimSpace(port)); return page != "" })
	if err := owner.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = owner.Wait()
	worker := strings.Fields(page)[0]
	until(t, "ended", func() bool { return !alive(worker) })
}

func TestProcessThatCannotStart(t *testing.T) {
	t.Parallel()
	r, dir := newProcessRig(t, filepath.Join(t.TempDir(), "missing"))
	id := r.rentProcess("a")
	until(t, "failed", func() bool {
		msg, _ := r.show(id)["status_msg"].(string)
		return strings.Contains(msg, "OCI runtime create failed")
	})
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}

// The worker of this repository, from its start to its end.
func TestRealWorker(t *testing.T) {
	need.Long(t)
	need.FFmpeg(t)
	t.Parallel()
	bin := t.TempDir()
	if err := need.Programs(t.Context(), bin, "", "worker"); err != nil {
		t.Fatal(err)
	}
	r, dir := newProcessRig(t, filepath.Join(bin, "worker"))
	id, _ := r.create("a")
	var page, url string
	until(t, "healthy", func() bool {
		if url = r.address(id); url == "" {
			return false
		}
		page, _ = r.get(url + "/health")
		return strings.Contains(page, `"healthy"`)
	})
	r.must("DELETE", "/api/v0/instances/"+id+"/", nil)
	until(t, "ended", func() bool { return !r.Truth().Instances[0].Running })
	if _, answers := r.get(url + "/health"); answers {
		t.Error("it still answers")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}
