// Command layers reads what docker save writes and prints, as a table, how
// large each layer of the image is, and how large as a registry has it:
//
//	docker save IMAGE | layers
package main

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"regexp"
	"strings"
)

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "layers:", err)
		os.Exit(1)
	}
}

// image is what docker save tells of it in manifest.json.
type image struct {
	Config string
	Layers []string // files in the archive, the lowest first
}

// config is the part that counts of an image's configuration, as the OCI
// image specification has it.
type config struct {
	History []struct {
		CreatedBy  string `json:"created_by"`
		EmptyLayer bool   `json:"empty_layer"`
	} `json:"history"`
}

// size is that of a layer in bytes: as files, and by gzip as a registry has it.
type size struct{ raw, packed int64 }

func run(in io.Reader, out io.Writer) error {
	sizes, small := map[string]size{}, map[string][]byte{}
	archive := tar.NewReader(in)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		name := path.Clean(header.Name)
		if header.Typeflag == tar.TypeSymlink { // a layer that the image has twice
			sizes[name] = sizes[path.Join(path.Dir(name), header.Linkname)]
			continue
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		keep := &limited{}
		if sizes[name], err = measure(io.TeeReader(archive, keep)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		small[name] = keep.text
	}
	var images []image
	if err := json.Unmarshal(small["manifest.json"], &images); err != nil || len(images) != 1 {
		return errors.Join(errors.New("this is not one image as docker save writes it"), err)
	}
	var c config
	if err := json.Unmarshal(small[path.Clean(images[0].Config)], &c); err != nil {
		return fmt.Errorf("configuration of the image: %w", err)
	}
	print(out, images[0].Layers, c, sizes)
	return nil
}

// maxSmall is more than any manifest and configuration of ours.
const maxSmall = 1 << 20

// limited keeps the beginning of what is written to it.
type limited struct{ text []byte }

func (l *limited) Write(p []byte) (int, error) {
	l.text = append(l.text, p[:min(len(p), maxSmall-len(l.text))]...)
	return len(p), nil
}

// measure reads a file to its end. Registries hold layers by gzip at its
// default level, as docker push makes them; an engine that keeps its images in
// containerd saves them so.
func measure(r io.Reader) (size, error) {
	var packed counter
	in := bufio.NewReader(r)
	if head, _ := in.Peek(2); string(head) == "\x1f\x8b" {
		unzipped, err := gzip.NewReader(io.TeeReader(in, &packed))
		if err != nil {
			return size{}, err
		}
		raw, err := io.Copy(io.Discard, unzipped)
		return size{raw, packed.n}, err
	}
	zip := gzip.NewWriter(&packed)
	raw, err := io.Copy(zip, in)
	if err := errors.Join(err, zip.Close()); err != nil {
		return size{}, err
	}
	return size{raw, packed.n}, nil
}

type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}

func print(out io.Writer, layers []string, c config, sizes map[string]size) {
	var made []string
	for _, h := range c.History {
		if !h.EmptyLayer {
			made = append(made, short(h.CreatedBy))
		}
	}
	var all size
	fmt.Fprintln(out, "| MB compressed | MB | made by |\n|---:|---:|---|")
	for n, layer := range layers {
		s := sizes[path.Clean(layer)]
		all.raw, all.packed = all.raw+s.raw, all.packed+s.packed
		by := ""
		if len(made) == len(layers) {
			by = made[n]
		}
		row(out, s, by)
	}
	row(out, all, "**all**")
}

func row(out io.Writer, s size, by string) {
	fmt.Fprintf(out, "| %.1f | %.1f | %s |\n", float64(s.packed)/1e6, float64(s.raw)/1e6, by)
}

// maxWords is how much of a command a table has room for.
const maxWords = 70

var noise = regexp.MustCompile(`^(RUN )?(\|\d+ .*?)?/bin/sh -c +(#\(nop\) +)?|\s*# buildkit$`)

// short is the beginning of the instruction that made a layer, which names it.
func short(by string) string {
	words := strings.Join(strings.Fields(noise.ReplaceAllString(strings.TrimSpace(by), "")), " ")
	words = strings.ReplaceAll(words, "|", "/") // it ends a cell
	if len(words) > maxWords {
		words = strings.TrimSpace(strings.ToValidUTF8(words[:maxWords], "")) + " …"
	}
	if words == "" {
		return "the base image"
	}
	return "`" + words + "`"
}
