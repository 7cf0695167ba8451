package vastsim

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Processes runs a worker process for each instance. A process dies with this
// one, however that ends, on Linux; what it started itself must then see to
// its own end, as a worker's FFmpeg does. Its ports are forwarded, as a container's
// are, so that the external ones are known before it starts, and its traffic
// is counted.
type Processes struct {
	// Binary is the worker program. It listens on HOST:PORT and tells its
	// port in PORT_FILE.
	Binary string
	// Dir holds a folder for each instance while its process lives.
	Dir string
	// Env is the environment of this program, of which a worker gets what it
	// needs to find programs, libraries and the GPU.
	Env []string
}

// passes tells whether a worker may have this entry of our environment: a
// list of what is needed, so that no secret slips through.
func passes(entry string) bool {
	name, _, _ := strings.Cut(entry, "=")
	return slices.Contains([]string{"PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH"}, name) ||
		strings.HasPrefix(name, "CUDA_") || strings.HasPrefix(name, "NVIDIA_")
}

// Start starts the worker.
func (p *Processes) Start(prog Program) (Machine, error) {
	binary, err := filepath.Abs(p.Binary)
	if err != nil {
		return nil, fmt.Errorf("find worker program: %w", err)
	}
	dir, err := os.MkdirTemp(p.Dir, "instance-"+strconv.FormatInt(prog.ID, 10)+"-")
	if err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	m := &process{dir: dir, ports: map[string]int{}, ended: make(chan struct{})}
	if err := m.open(prog); err != nil {
		return nil, errors.Join(err, m.tidy())
	}
	m.cmd = exec.Command(binary)
	m.cmd.Dir, m.cmd.Env = dir, p.environment(prog.Environment(m.ports), dir)
	m.cmd.Stdout, m.cmd.Stderr = &m.output, &m.output
	// A grandchild that keeps the output open must not hold up the end.
	m.cmd.WaitDelay = time.Second
	started := make(chan error, 1)
	go m.run(started)
	if err := <-started; err != nil {
		<-m.ended
		return nil, fmt.Errorf("start worker: %w", err)
	}
	return m, nil
}

// environment adds to that of the instance what a container would provide.
func (p *Processes) environment(asked map[string]string, dir string) []string {
	env := map[string]string{}
	for _, entry := range p.Env {
		if passes(entry) {
			name, value, _ := strings.Cut(entry, "=")
			env[name] = value
		}
	}
	maps.Copy(env, asked)
	maps.Copy(env, map[string]string{
		"HOST": loopback, "PORT": "0", "PORT_FILE": filepath.Join(dir, portFile), "WORK_DIR": filepath.Join(dir, "work"),
	})
	var list []string
	for name, value := range env {
		list = append(list, name+"="+value)
	}
	slices.Sort(list)
	return list
}

// process is a Machine.
type process struct {
	cmd    *exec.Cmd
	dir    string
	ports  map[string]int
	doors  []*door
	output tail
	ended  chan struct{}

	mu      sync.Mutex
	running bool // its number is its own
}

// portFile is where a worker tells its port, in the folder of the instance.
const portFile = "port"

// open opens the external ports. All lead to the one port that a worker has.
func (m *process) open(prog Program) error {
	for _, port := range prog.Ports {
		if strings.HasSuffix(port, "/udp") {
			continue
		}
		d, err := openDoor(filepath.Join(m.dir, portFile))
		if err != nil {
			return err
		}
		m.doors = append(m.doors, d)
		m.ports[port] = d.port()
		if !prog.Reachable {
			d.close()
		}
	}
	return nil
}

// run starts the process, says so, and waits for its end.
func (m *process) run(started chan<- error) {
	defer close(m.ended)
	ran := false
	err := runBound(m.cmd, func() {
		m.mu.Lock()
		m.running = true
		m.mu.Unlock()
		ran = true
		started <- nil
	}, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		killAll(m.cmd) // what the worker left behind
		m.running = false
	})
	if err := m.tidy(); err != nil {
		fmt.Fprintln(&m.output, "tidy up:", err)
	}
	if !ran {
		started <- err
	}
}

// tidy closes the ports and removes the folder.
func (m *process) tidy() error {
	for _, d := range m.doors {
		d.close()
	}
	return os.RemoveAll(m.dir)
}

func (m *process) Ports() map[string]int { return m.ports }

func (m *process) Ended() <-chan struct{} { return m.ended }

func (m *process) Stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.running {
		killAll(m.cmd)
	}
}

func (m *process) Reach(on bool) {
	for _, d := range m.doors {
		d.reach(on)
	}
}

func (m *process) Output() string { return m.output.String() }

func (m *process) Traffic() (down, up int64) {
	for _, d := range m.doors {
		down, up = down+d.down.Load(), up+d.up.Load()
	}
	return down, up
}

func (m *process) Reached() (first time.Time) {
	for _, d := range m.doors {
		if at := d.first(); !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

var _ io.Writer = (*tail)(nil)

const maxTail = 64 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if over := len(t.text) - maxTail; over > 0 {
		t.text = bytes.Clone(t.text[over:])
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.ToValidUTF8(string(t.text), "?")
}
