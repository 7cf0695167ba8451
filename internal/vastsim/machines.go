package vastsim

import (
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// Machines runs the programs of instances. Processes runs real ones, Scripted
// plays them.
type Machines interface {
	// Start starts a program and returns at once. It keeps no lock that
	// another call could wait for.
	Start(p Program) (Machine, error)
}

// Machine is a program that was started. Its methods return at once.
type Machine interface {
	// Ports are the external ports, by the container's: "3334/tcp".
	Ports() map[string]int
	// Ended is closed when nothing of it runs any more.
	Ended() <-chan struct{}
	// Stop kills it. Asking twice is no error.
	Stop()
	// Reach cuts it off from the network, or lets it back.
	Reach(bool)
	// Output is the end of what it printed.
	Output() string
	// Traffic is how many bytes went in and out until now.
	Traffic() (down, up int64)
	// Reached is when it took the first connection from outside; zero before.
	Reached() time.Time
}

// Program is what a machine is to run.
type Program struct {
	ID    int64
	Label string
	Image string
	Args  []string
	// Ports of the container that are open, as "3334/tcp".
	Ports []string
	// Environment returns that of the program, once its ports are known.
	Environment func(ports map[string]int) map[string]string
	// Reachable is false where nothing is to answer from outside.
	Reachable bool
}

func ended(m Machine) bool {
	select {
	case <-m.Ended():
		return true
	default:
		return false
	}
}

// Scripted plays machines in this process: they run until they are stopped,
// or told to end by Exit. It is safe for concurrent use.
type Scripted struct {
	// Serve, where set, answers at every port of a machine, on loopback.
	// Without it, ports are but numbers.
	Serve func(p Program, env map[string]string) http.Handler

	mu       sync.Mutex
	machines map[int64]*scriptedMachine
	nextPort int
}

// firstPort is the first number that Scripted makes up.
const firstPort = 40000

// Start plays a machine.
func (s *Scripted) Start(p Program) (Machine, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := &scriptedMachine{ports: map[string]int{}, ended: make(chan struct{})}
	for _, port := range p.Ports {
		s.nextPort = (s.nextPort + 1) % 20000
		m.ports[port] = firstPort + s.nextPort
		if s.Serve == nil {
			continue
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			for _, l := range m.listeners {
				l.Close()
			}
			return nil, fmt.Errorf("listen: %w", err)
		}
		m.listeners = append(m.listeners, l)
		m.ports[port] = l.Addr().(*net.TCPAddr).Port
	}
	m.env = p.Environment(m.ports)
	if s.Serve != nil {
		m.server = &http.Server{Handler: s.Serve(p, m.env), ReadHeaderTimeout: 10 * time.Second}
	}
	for _, l := range m.listeners {
		if p.Reachable {
			m.serving.Go(func() { _ = m.server.Serve(l) })
		} else {
			l.Close()
		}
	}
	if s.machines == nil {
		s.machines = map[int64]*scriptedMachine{}
	}
	s.machines[p.ID] = m
	return m, nil
}

// Exit ends the program of an instance by itself, having printed this, and
// waits until it has ended.
func (s *Scripted) Exit(id int64, output string) {
	s.mu.Lock()
	m := s.machines[id]
	s.mu.Unlock()
	if m != nil {
		m.mu.Lock()
		m.output = output
		m.mu.Unlock()
		m.Stop()
		<-m.Ended()
	}
}

// Env is the environment of an instance's newest program; nil if none ran.
func (s *Scripted) Env(id int64) map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.machines[id]; m != nil {
		return m.env
	}
	return nil
}

type scriptedMachine struct {
	ports     map[string]int
	env       map[string]string
	listeners []net.Listener
	server    *http.Server // nil without Serve
	serving   sync.WaitGroup
	once      sync.Once
	ended     chan struct{}

	mu     sync.Mutex
	output string
}

func (m *scriptedMachine) Ports() map[string]int { return m.ports }

func (m *scriptedMachine) Ended() <-chan struct{} { return m.ended }

func (m *scriptedMachine) Stop() {
	m.once.Do(func() {
		if m.server == nil {
			close(m.ended)
			return
		}
		go func() { // closing may wait, which nobody should
			defer close(m.ended)
			for _, l := range m.listeners {
				l.Close()
			}
			_ = m.server.Close()
			m.serving.Wait()
		}()
	})
}

func (m *scriptedMachine) Reach(bool) {}

func (m *scriptedMachine) Output() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.output
}

func (m *scriptedMachine) Reached() time.Time { return time.Time{} }

func (m *scriptedMachine) Traffic() (down, up int64) { return 0, 0 }
