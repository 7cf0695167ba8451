package worker

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/api-gpu/api-gpu"
)

func body(r io.Reader) *pushBody {
	return &pushBody{r: r}
}

func TestInput(t *testing.T) {
	t.Parallel()
	const video = "0123456789"
	cut := func(s string) io.Reader {
		return io.MultiReader(strings.NewReader(s), iotest.ErrReader(io.ErrUnexpectedEOF))
	}
	type piece struct {
		offset, size int64
		r            io.Reader
		code         apigpu.Code
		want         apigpu.InputState
	}
	state := func(received, size int64) apigpu.InputState { return apigpu.InputState{Received: received, Size: size} }
	for name, pieces := range map[string][]piece{
		"in one":                  {{0, 10, strings.NewReader(video), "", state(10, 10)}},
		"of unknown size":         {{0, -1, strings.NewReader(video), "", state(10, 10)}},
		"cut and resumed":         {{0, 10, cut("0123"), apigpu.Unavailable, state(4, 10)}, {4, 10, strings.NewReader("456789"), "", state(10, 10)}},
		"unknown, cut, resumed":   {{0, -1, cut("0123"), apigpu.Unavailable, state(4, -1)}, {4, -1, strings.NewReader("456789"), "", state(10, 10)}},
		"ended too early":         {{0, 10, strings.NewReader("0123"), apigpu.Unavailable, state(4, 10)}, {4, 10, strings.NewReader("456789"), "", state(10, 10)}},
		"begun again":             {{0, 10, cut("xxxxxxx"), apigpu.Unavailable, state(7, 10)}, {0, 10, strings.NewReader(video), "", state(10, 10)}},
		"at a wrong offset":       {{0, 10, cut("0123"), apigpu.Unavailable, state(4, 10)}, {5, 10, strings.NewReader("x"), apigpu.Conflict, state(4, 10)}, {4, 10, strings.NewReader("456789"), "", state(10, 10)}},
		"longer than it said":     {{0, 4, strings.NewReader(video), apigpu.TooLarge, state(0, -1)}, {0, 10, strings.NewReader(video), "", state(10, 10)}},
		"longer than is accepted": {{0, 17, strings.NewReader(video), apigpu.TooLarge, state(0, -1)}, {0, -1, strings.NewReader(video + video), apigpu.TooLarge, state(0, -1)}, {0, 10, strings.NewReader(video), "", state(10, 10)}},
		"again after its end":     {{0, 10, strings.NewReader(video), "", state(10, 10)}, {0, 10, strings.NewReader("xxxxxxxxxx"), "", state(10, 10)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := newInput(filepath.Join(t.TempDir(), "input"), 16)
			for n, p := range pieces {
				if in.isWhole() != (n > 0 && pieces[n-1].code == "") {
					t.Fatalf("before piece %d: whole %v", n, in.isWhole())
				}
				got, err := in.write(t.Context(), p.offset, p.size, body(p.r))
				if apigpu.CodeOf(err) != p.code || got != p.want || in.now() != p.want {
					t.Fatalf("piece %d: %+v, kept %+v, error %v", n, got, in.now(), err)
				}
			}
			file, err := os.ReadFile(in.path)
			if err != nil || string(file) != video || !in.isWhole() {
				t.Errorf("the file is %q, %v", file, err)
			}
		})
	}
}

func TestInputNeedsNoFolderThatIsGone(t *testing.T) {
	t.Parallel()
	in := newInput(filepath.Join(t.TempDir(), "gone", "input"), 16)
	if _, err := in.write(t.Context(), 0, 4, body(strings.NewReader("0123"))); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

// A connection may be dead and not know it: the next push must not wait for it.
func TestNewerPushCutsOlder(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.assign(t, "job_1", pushed(1))
	out, hanging := io.Pipe()
	older := make(chan error, 1)
	go func() {
		_, err := b.client.PushInput(context.WithoutCancel(t.Context()), "job_1", 1, 0, 1<<20, out)
		older <- err
	}()
	if _, err := hanging.Write(bytes.Repeat([]byte("x"), 64<<10)); err != nil {
		t.Fatal(err)
	}
	state, err := b.client.PushInput(t.Context(), "job_1", 1, 0, 5, strings.NewReader("video"))
	if err != nil || state.Received != 5 {
		t.Fatalf("%+v, %v", state, err)
	}
	hanging.CloseWithError(errors.New("the source ended"))
	if err := <-older; err == nil {
		t.Error("the older push was told that all is well")
	}
	b.final(t, "job_1") // five bytes are no video
}

func TestPushEndsWithItsJob(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.assign(t, "job_1", pushed(1))
	out, hanging := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		_, err := b.client.PushInput(context.WithoutCancel(t.Context()), "job_1", 1, 0, 1<<20, out)
		ended <- err
	}()
	if _, err := hanging.Write(bytes.Repeat([]byte("x"), 64<<10)); err != nil {
		t.Fatal(err)
	}
	if _, err := b.client.Cancel(t.Context(), "job_1"); err != nil {
		t.Fatal(err)
	}
	j, err := b.find("job_1")
	if err != nil {
		t.Fatal(err)
	}
	select { // the handler has let go of the file, though the client sends nothing
	case j.input.writing <- struct{}{}:
		<-j.input.writing
	case <-time.After(5 * time.Second):
		t.Fatal("the push goes on after its job")
	}
	hanging.CloseWithError(io.ErrClosedPipe)
	<-ended
	_, err = b.client.PushInput(t.Context(), "job_1", 1, 0, 1, strings.NewReader("x"))
	wantCode(t, err, apigpu.Conflict)
}

func TestPushRefusals(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.assign(t, "job_1", pushed(2))
	push := func(id string, attempt int, offset int64) error {
		_, err := b.client.PushInput(t.Context(), id, attempt, offset, 5, strings.NewReader("video"))
		return err
	}
	wantCode(t, push("job_2", 1, 0), apigpu.JobNotFound)
	wantCode(t, push("job_1", 1, 0), apigpu.StaleAttempt)
	wantCode(t, push("job_1", 2, -1), apigpu.InvalidRequest)
	wantCode(t, push("job_1", 2, 3), apigpu.Conflict)
}
