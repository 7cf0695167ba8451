package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"strings"
	"testing"
)

// saved is an archive as docker save writes it.
func saved(t *testing.T, files ...string) *bytes.Buffer {
	t.Helper()
	var out bytes.Buffer
	archive := tar.NewWriter(&out)
	for n := 0; n < len(files); n += 2 {
		if err := archive.WriteHeader(&tar.Header{Name: files[n], Mode: 0o644, Size: int64(len(files[n+1]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := archive.Write([]byte(files[n+1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	return &out
}

func TestRun(t *testing.T) {
	in := saved(t,
		"a/layer.tar", strings.Repeat("a", 3_000_000), "b/layer.tar", strings.Repeat("b", 1_000_000),
		"c.json", `{"history": [{"created_by": ""}, {"created_by": "ENV A=b", "empty_layer": true},
			{"created_by": "RUN |2 FONTS=a b PROCS=2 /bin/sh -c apt-get update | cat  && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/* # buildkit"}]}`,
		"manifest.json", `[{"Config": "c.json", "Layers": ["a/layer.tar", "b/layer.tar"]}]`)
	var out strings.Builder
	if err := run(in, &out); err != nil {
		t.Fatal(err)
	}
	const want = "| MB compressed | MB | made by |\n|---:|---:|---|\n" +
		"| 0.0 | 3.0 | the base image |\n" +
		"| 0.0 | 1.0 | `apt-get update / cat && rm -rf /var/lib/apt/lists/* /var/cache/apt/* / …` |\n" +
		"| 0.0 | 4.0 | **all** |\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", &out, want)
	}
}

// An engine that keeps layers by gzip saves them so.
func TestPackedLayer(t *testing.T) {
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	if _, err := zip.Write(bytes.Repeat([]byte("a"), 3_000_000)); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	want := size{3_000_000, int64(packed.Len())}
	if got, err := measure(&packed); err != nil || got != want {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
}

func TestNoImage(t *testing.T) {
	for name, in := range map[string]*bytes.Buffer{
		"nothing": saved(t), "text": bytes.NewBufferString("Error response from daemon: no such image"),
		"no configuration": saved(t, "manifest.json", `[{"Config": "c.json"}]`),
	} {
		if err := run(in, &strings.Builder{}); err == nil {
			t.Errorf("%s is taken for an image", name)
		}
	}
}
