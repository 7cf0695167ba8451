//go:build unix

package blob

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	apigpu "github.com/api-gpu/api-gpu"
)

func TestPermissions(t *testing.T) {
	t.Parallel()
	s := open(t, filepath.Join(t.TempDir(), "store"))
	if _, err := s.Receive(t.Context(), "up", strings.NewReader("upload"), 10); err != nil {
		t.Fatal(err)
	}
	file := content(10)
	write(t, partial(t, s, "part"), file, cut(file, 10).Chunks...)
	err := filepath.WalkDir(s.root, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if want := map[bool]fs.FileMode{true: 0o700, false: 0o600}[d.IsDir()]; info.Mode().Perm() != want {
			t.Errorf("%s has mode %v", d.Name(), info.Mode().Perm())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestStoreErrorKnowsAFullVolume(t *testing.T) {
	t.Parallel()
	for _, errno := range []error{syscall.ENOSPC, syscall.EDQUOT} {
		err := storeError("write chunk", &fs.PathError{Op: "write", Path: "/secret", Err: errno})
		wantCode(t, err, apigpu.StorageFull)
		if strings.Contains(apigpu.AsError(err).Message, "secret") {
			t.Error("a stranger is told the path")
		}
	}
	wantCode(t, storeError("write chunk", syscall.EIO), apigpu.Internal)
}
