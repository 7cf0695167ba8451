package blob

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	apigpu "github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/crash"
)

// sumSuffix marks the description of an object. No key holds a '~'.
const sumSuffix = "~sha256"

// publish turns the finished, synced file at from into the object key. It
// never overwrites: when the object is there already, the same content is
// success, and any other is Conflict, which leaves from where it is.
func (s *Store) publish(ctx context.Context, from, key string, size int64, sum string) (Object, error) {
	err := s.place(from, key, sum)
	if errors.Is(err, fs.ErrExist) {
		object, err := s.agree(ctx, key, size, sum)
		if err != nil {
			return Object{}, err
		}
		if err := removeAll(from); err != nil {
			return Object{}, fmt.Errorf("remove duplicate: %w", err)
		}
		return object, nil
	}
	if err != nil {
		return Object{}, storeError("publish object", err)
	}
	s.count(size)
	return s.Stat(ctx, key)
}

// place renames from to key, durably, and describes it. The error wraps
// fs.ErrExist when the object is there already.
func (s *Store) place(from, key, sum string) error {
	s.publishing.Lock()
	defer s.publishing.Unlock()
	path := s.objectPath(key)
	folder := filepath.Dir(path)
	crash.Point("blob.publish")
	switch err := os.Mkdir(folder, dirMode); {
	case err == nil:
		if err := syncDir(filepath.Dir(folder)); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrExist):
		return err
	}
	crash.Point("blob.publish.folder")
	if err := renameNew(from, path); err != nil {
		if !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
		// Some network file systems cannot rename without overwriting. There
		// the lock does it, for the writers of this process.
		if _, err := os.Lstat(path); err == nil {
			return fs.ErrExist
		}
		if err := os.Rename(from, path); err != nil {
			return err
		}
	}
	crash.Point("blob.publish.renamed")
	if err := syncDir(folder); err != nil {
		return err
	}
	crash.Point("blob.publish.synced")
	s.writeSum(key, sum)
	crash.Point("blob.publish.described")
	return nil
}

// agree returns the object if its content is what is expected, and Conflict
// if it is not.
func (s *Store) agree(ctx context.Context, key string, size int64, sum string) (Object, error) {
	object, err := s.Stat(ctx, key)
	if err != nil {
		return Object{}, err
	}
	if object.Size == size && object.SHA256 == "" {
		if object.SHA256, err = s.digest(ctx, key); err != nil {
			return Object{}, err
		}
	}
	if object.Size != size || object.SHA256 != sum {
		return Object{}, apigpu.E(apigpu.Conflict, nil, "Another file is stored under this name already.")
	}
	// Whoever renamed it may have died before the folder was synced.
	if err := syncDir(filepath.Dir(s.objectPath(key))); err != nil {
		return Object{}, storeError("sync folder", err)
	}
	return object, nil
}

// digest reads an object whose description is missing, and describes it.
func (s *Store) digest(ctx context.Context, key string) (string, error) {
	file, err := os.Open(s.objectPath(key))
	if err != nil {
		return "", fmt.Errorf("hash object: %w", err)
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, untilDone{ctx, file}); err != nil {
		return "", fmt.Errorf("hash object: %w", err)
	}
	sum := hex.EncodeToString(hash.Sum(nil))
	s.publishing.Lock()
	defer s.publishing.Unlock()
	s.writeSum(key, sum)
	return sum, nil
}

func (s *Store) sumPath(key string) string { return s.objectPath(key) + sumSuffix }

// writeSum describes an object as it is now. Nothing depends on it: a lost or
// torn description means only that somebody has to hash the object again, so
// it is not synced and its errors are of no consequence.
func (s *Store) writeSum(key, sum string) {
	info, err := os.Stat(s.objectPath(key))
	if err != nil {
		return
	}
	_ = os.WriteFile(s.sumPath(key), []byte(sumLine(sum, info)), fileMode)
}

// sumLine ties a digest to the size and the time of its file. A description
// that outlived its object is thereby not believed of the next one.
func sumLine(sum string, info fs.FileInfo) string {
	return fmt.Sprintf("%s %d %d\n", sum, info.Size(), info.ModTime().UnixNano())
}

// describe makes an Object of a file, with its digest if that is known.
func (s *Store) describe(key string, info fs.FileInfo) Object {
	object := Object{Key: key, Size: info.Size(), ModTime: info.ModTime()}
	line, err := os.ReadFile(s.sumPath(key))
	if err != nil || len(line) < hexSum {
		return object
	}
	if sum := string(line[:hexSum]); isSum(sum) && string(line) == sumLine(sum, info) {
		object.SHA256 = sum
	}
	return object
}

// untilDone is a reader that ends with its context.
type untilDone struct {
	ctx context.Context
	io.Reader
}

// Read fails with the context's error once it is done.
func (r untilDone) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}
