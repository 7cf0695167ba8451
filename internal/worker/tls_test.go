package worker

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/client"
	"github.com/api-gpu/api-gpu/internal/httpapi"
	"github.com/api-gpu/api-gpu/internal/link"
	"github.com/api-gpu/api-gpu/test/need"
)

// pinned serves the worker by TLS too, as the program does with TLS_SEED, and
// makes b's client one that knows the key.
func (b *bench) pinned(t *testing.T) {
	t.Helper()
	seed, err := link.Seed([]byte("root"), "label")
	if err != nil {
		t.Fatal(err)
	}
	ours, err := link.ServerConfig(seed)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := link.ClientConfig(seed)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := httpapi.NewServer(b.Handler(), time.Minute, slog.New(slog.DiscardHandler))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(tls.NewListener(l, ours))
	}()
	c, err := client.New("https://"+l.Addr().String(), client.Options{TLS: theirs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		b.Drain()
		_ = server.Close()
		<-done
	})
	b.client = c
}

// Every call of a client, events and big bodies among them, goes over the
// pinned link.
func TestAllCallsOverThePinnedLink(t *testing.T) {
	t.Parallel()
	need.FFmpeg(t)
	b := realBench(t, nil)
	b.pinned(t)
	ctx := t.Context()
	if h, err := b.client.Health(ctx); err != nil || h.Status != "healthy" {
		t.Errorf("%+v, %v", h, err)
	}
	if _, err := b.client.Lease(ctx, apigpu.LeaseRequest{Epoch: 1, TTLSeconds: 60}); err != nil {
		t.Error(err)
	}
	// 24 MiB: the clip, and behind it a box that says nothing (free space,
	// ISO/IEC 14496-12 8.1.2).
	video := black(t)
	free := make([]byte, 24<<20)
	binary.BigEndian.PutUint32(free, uint32(len(free)))
	copy(free[4:], "free")
	video = append(slices.Clone(video), free...)
	b.assign(t, "job_1", pushed(1))
	half := int64(len(video) / 2)
	_, err := b.client.PushInput(ctx, "job_1", 1, 0, int64(len(video)), bytes.NewReader(video[:half]))
	wantCode(t, err, apigpu.Unavailable)
	if state, err := b.client.Input(ctx, "job_1"); err != nil || state.Received != half {
		t.Fatalf("%+v, %v", state, err)
	}
	if state, err := b.client.PushInput(ctx, "job_1", 1, half, int64(len(video)), bytes.NewReader(video[half:])); err != nil || state.Received != int64(len(video)) {
		t.Fatalf("%+v, %v", state, err)
	}
	seen := 0
	j, err := b.client.Follow(ctx, "job_1", func(apigpu.Job) { seen++ })
	if err != nil || j.Status != apigpu.Succeeded || seen == 0 {
		t.Fatalf("%s after %d events: %v %v", j.Status, seen, j.Error, err)
	}
	m, err := b.client.Manifest(ctx, "job_1")
	if err != nil {
		t.Fatal(err)
	}
	whole := sha256.New()
	for _, chunk := range m.Chunks {
		data, err := b.client.Chunk(ctx, "job_1", chunk)
		if err != nil {
			t.Fatal(err)
		}
		whole.Write(data)
	}
	if got := hex.EncodeToString(whole.Sum(nil)); got != m.SHA256 {
		t.Errorf("the result is %s, want %s", got, m.SHA256)
	}
	own, err := b.client.Caption(ctx, client.Request{
		Video:    &client.File{Name: "a.mp4", Content: bytes.NewReader(video)},
		Subtitle: &client.File{Name: "a.srt", Content: strings.NewReader(oneCue)},
		Wait:     time.Minute,
	})
	if err != nil || own.Status != apigpu.Succeeded {
		t.Fatalf("%+v, %v", own, err)
	}
	var out bytes.Buffer
	if err := b.client.Download(ctx, own, &out); err != nil || out.Len() == 0 {
		t.Errorf("%d bytes, %v", out.Len(), err)
	}
	if page, err := b.client.Jobs(ctx, client.Filter{}); err != nil || len(page.Data) == 0 {
		t.Errorf("%+v, %v", page, err)
	}
	if _, err := b.client.Cancel(ctx, own.ID); err != nil && apigpu.CodeOf(err) != apigpu.Conflict {
		t.Error(err)
	}
	if err := b.client.Delete(ctx, own.ID); err != nil {
		t.Error(err)
	}
}
