//go:build linux || darwin

package local

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

// The test binary plays the other programs too, told by this variable.
const (
	role    = "STANDIN_ROLE"
	asChild = "child" // what ffmpeg is to a worker
	asOwner = "owner" // an orchestrator that will be killed
	// asWorker and what follows are workers.
	asWorker    = "worker"
	asCrasher   = "crasher"   // ends at once
	asOrphaner  = "orphaner"  // ends with its child alive, which ignores SIGTERM
	asGarbler   = "garbler"   // writes no number where its port should be
	pidsFolder  = "PIDS"      // each process leaves a file with its pid there
	ownerFolder = "OWNER_DIR" // where the owner keeps its instances
	ownerPoint  = "OWNER_POINT"
)

// life bounds every stand-in, so that a test that fails leaves nothing behind.
const life = time.Minute

func TestMain(m *testing.M) {
	switch as := os.Getenv(role); as {
	case "":
		goleak.VerifyTestMain(m)
	case asOwner:
		exit(playOwner())
	case asChild:
		signal.Ignore(syscall.SIGTERM)
		leavePid()
		fmt.Println("alive") // the worker waits for this
		<-time.After(life)
	default:
		exit(playWorker(as))
	}
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func leavePid() {
	pid := strconv.Itoa(os.Getpid())
	_ = os.WriteFile(filepath.Join(os.Getenv(pidsFolder), pid), nil, 0o600)
}

// playWorker does what the real one promises: it listens on HOST:PORT, tells
// its port in PORT_FILE, ends at SIGTERM, and has a child in its own group.
func playWorker(as string) error {
	leavePid()
	if as == asCrasher {
		return fmt.Errorf("no encoder here")
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	self, err := os.Executable()
	if err != nil {
		return err
	}
	child := exec.Command(self)
	child.Env = append(os.Environ(), role+"="+asChild)
	says, err := child.StdoutPipe()
	if err != nil {
		return err
	}
	if err := child.Start(); err != nil {
		return err
	}
	if _, err := bufio.NewReader(says).ReadString('\n'); err != nil {
		return err
	}
	if as == asOrphaner {
		return nil
	}
	l, err := net.Listen("tcp", net.JoinHostPort(os.Getenv("HOST"), os.Getenv("PORT")))
	if err != nil {
		return err
	}
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	if as == asGarbler {
		port = "none"
	}
	file := os.Getenv("PORT_FILE")
	if err := os.WriteFile(file+".new", []byte(port+"\n"), 0o600); err != nil {
		return err
	}
	if err := os.Rename(file+".new", file); err != nil {
		return err
	}
	// It answers with its environment.
	go func() {
		_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, strings.Join(os.Environ(), "\n"))
		}))
	}()
	select {
	case <-end:
	case <-time.After(life):
	}
	return nil
}

// playOwner creates an instance as far as OWNER_POINT, says so, and waits to
// be killed.
func playOwner() error {
	p, err := New(Config{Binary: os.Args[0], Dir: os.Getenv(ownerFolder), MaxInstances: 1, Slots: 1, Env: os.Environ()})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), life)
	defer cancel()
	req := gpu.Request{Label: "a", Offer: gpu.Offer{ID: offerID, Slots: 1}, Env: map[string]string{
		role: asWorker, pidsFolder: os.Getenv(pidsFolder),
	}}
	f := p.folder(req.Label)
	switch os.Getenv(ownerPoint) {
	case "folder":
		err = os.Mkdir(f.dir, 0o700)
	case "intent":
		err = f.make(intent{Slots: 1})
	case "lock":
		if err = f.make(intent{Slots: 1}); err == nil {
			_, err = f.take(ctx)
		}
	case "forked":
		_, err = p.launch(ctx, f, req)
	case "asking":
		fmt.Println("here")
		_, err = p.Create(ctx, req)
	case "created":
		_, err = p.Create(ctx, req)
	}
	if err != nil {
		return err
	}
	fmt.Println("here")
	<-ctx.Done()
	return ctx.Err()
}
