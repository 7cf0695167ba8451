package main

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/client"
)

// source is one of the two inputs: an address or a file. The caller closes it.
type source struct {
	address string
	file    *client.File
	size    int64
	info    fs.FileInfo // of a file on disk
	closer  io.Closer
}

func (s source) close() {
	if s.closer != nil {
		s.closer.Close() // was only read
	}
}

// isAddress reports whether an argument is for the server to fetch. Any other
// scheme is taken for a file's name, and reported as missing.
func isAddress(arg string) bool {
	low := strings.ToLower(arg)
	return strings.HasPrefix(low, "http://") || strings.HasPrefix(low, "https://")
}

// openSource finds out what an argument names. what is the word for it in
// messages.
func openSource(arg, what string) (source, error) {
	if isAddress(arg) {
		return source{address: arg}, nil
	}
	f, err := os.Open(arg)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return source{}, usage("There is no file %s.", arg).withHint("The %s is a file, or an address that begins with http:// or https://.", what)
	case err != nil:
		return source{}, usage("The %s cannot be opened: %v.", what, err)
	}
	info, err := f.Stat()
	if err == nil && info.Mode().IsRegular() && info.Size() > 0 {
		return source{file: &client.File{Name: arg, Content: f}, size: info.Size(), info: info, closer: f}, nil
	}
	f.Close()
	if err == nil && info.Mode().IsRegular() {
		return source{}, usage("The file %s is empty.", arg)
	}
	return source{}, usage("%s is not a file.", arg)
}

// openSubtitles is openSource for subtitles: - is standard input, and what is
// too long for the server is found here.
func openSubtitles(arg string, stdin io.Reader) (source, error) {
	if arg == "-" {
		text, err := io.ReadAll(io.LimitReader(stdin, apigpu.MaxSubtitle+1))
		if err != nil {
			return source{}, fmt.Errorf("read standard input: %w", err)
		}
		return source{file: &client.File{Name: "stdin.srt", Content: bytes.NewReader(text)}, size: int64(len(text))}, subtitleSize(int64(len(text)))
	}
	s, err := openSource(arg, "subtitle file")
	if err != nil {
		return source{}, err
	}
	if err := subtitleSize(s.size); err != nil {
		s.close()
		return source{}, err
	}
	return s, nil
}

// subtitleSize is the error of subtitles that the server would refuse: a video
// in their place, more often than not.
func subtitleSize(n int64) error {
	if n > apigpu.MaxSubtitle {
		return usage("The subtitles are longer than %s.", sizeWords(apigpu.MaxSubtitle)).withHint("Are the two arguments in their order: the video first?")
	}
	return nil
}

// resultName is the default name of the result: that of the video, with
// .captioned.mp4 for its extension.
func resultName(video string) string {
	name := filepath.Base(video)
	if isAddress(video) {
		name = ""
		if u, err := url.Parse(video); err == nil {
			name = path.Base(u.Path)
		}
	}
	// The address was written by somebody else: nothing of it may lead out
	// of the folder, or hide the file.
	name = strings.TrimLeft(strings.Map(func(r rune) rune {
		if strings.ContainsRune(`/\:*?"<>|`, r) || r < 0x20 {
			return '_'
		}
		return r
	}, name), ".-")
	name = strings.TrimSuffix(name, filepath.Ext(name))
	if name == "" || name == "_" {
		name = "video"
	}
	return name + ".captioned.mp4"
}

// output is the file that the result is written to. It is a temporary one
// beside it until commit, so that no half of a video bears the name.
type output struct {
	path  string // "-" for standard output
	force bool
	temp  *os.File // nil for standard output, and once committed
	io.Writer
}

// openOutput makes the temporary file, so that what hinders the writing is
// found before the work and not after it. input is the video's own file, or
// nil.
func openOutput(name string, force bool, input fs.FileInfo, stdout io.Writer) (*output, error) {
	if name == "-" {
		return &output{path: name, Writer: stdout}, nil
	}
	o := &output{path: name, force: force}
	if info, err := os.Stat(name); err == nil && input != nil && os.SameFile(info, input) {
		return nil, usage("%s is the video itself.", name).withHint("Choose another name with -o.")
	}
	if err := o.vacant(); err != nil {
		return nil, err
	}
	// In the same folder, for a rename across file systems is none.
	temp := filepath.Join(filepath.Dir(name), "."+filepath.Base(name)+"."+rand.Text()[:8]+".part")
	// 0666 less the umask: the rights that any new file of the user gets.
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, usage("The result cannot be written: %v.", err).withHint("Choose another place with -o.")
	}
	o.temp, o.Writer = f, f
	return o, nil
}

// vacant is an error when the name is taken.
func (o *output) vacant() error {
	info, err := os.Lstat(o.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return usage("The result cannot be written: %v.", err)
	case info.IsDir():
		return usage("%s is a folder.", o.path)
	case !o.force:
		return usage("There is a file %s already.", o.path).withHint("Use --force to replace it, or another name with -o.")
	}
	return nil
}

// commit gives the file its name.
func (o *output) commit() error {
	if o.temp == nil {
		return nil
	}
	// The name may have been taken while the job ran.
	if err := errors.Join(o.temp.Sync(), o.temp.Close(), o.vacant()); err != nil {
		return fmt.Errorf("save video: %w", err)
	}
	if err := os.Rename(o.temp.Name(), o.path); err != nil {
		return fmt.Errorf("save video: %w", err)
	}
	o.temp = nil
	return nil
}

// discard removes what was not committed.
func (o *output) discard() {
	if o != nil && o.temp != nil {
		o.temp.Close()
		os.Remove(o.temp.Name()) // nothing else can be done about it
	}
}
