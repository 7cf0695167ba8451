package blob

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"

	apigpu "github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/crash"
)

// The suffixes of the two files of a partial.
const (
	dataSuffix   = ".data"
	chunksSuffix = ".chunks"
)

// Partial is a result on its way. Chunks may come in any order, from several
// goroutines, and more than once.
//
// The record of a chunk is a hint, not a proof: when a partial is opened
// again each recorded chunk is hashed, and forgotten if its bytes are not
// there. So no chunk needs a sync of its own; after a power cut some are
// fetched again. Commit syncs the whole.
type Partial struct {
	store  *Store
	key    string
	data   string // path of the bytes
	chunks string // path of the record

	mu       sync.Mutex // guards what follows
	closed   bool       // the files are closed
	released bool       // the key may be opened by another
	file     *os.File
	records  *os.File
	end      int64           // where the next record goes
	have     map[span]string // digest of each chunk that was written
	covered  []span          // the union of have
	// whole is the digest of the file up to hashed: chunks that come in
	// order need not be read again.
	whole  hash.Hash
	hashed int64
}

// Partial opens the partial of this key, or begins it. The key names whoever
// writes, attempt and owner included, so that nothing of another is mixed in.
// While it is open in this process a second open is Conflict. The caller ends
// it with Close or Abort, also after Commit.
func (s *Store) Partial(ctx context.Context, key string) (*Partial, error) {
	if err := check(ctx, key); err != nil {
		return nil, err
	}
	s.mu.Lock()
	_, taken := s.writing[key]
	s.writing[key] = struct{}{}
	s.mu.Unlock()
	if taken {
		return nil, apigpu.E(apigpu.Conflict, nil, "This result is being written already.")
	}
	p := &Partial{store: s, key: key, have: map[span]string{}, whole: sha256.New()}
	p.data, p.chunks = s.partialPaths(key)
	if err := p.resume(ctx); err != nil {
		return nil, errors.Join(storeError("open partial", err), p.Close())
	}
	return p, nil
}

// Have returns the chunks that are here, by offset. They need not be written
// again, not even after a kill of this process.
func (p *Partial) Have() []apigpu.Chunk {
	p.mu.Lock()
	defer p.mu.Unlock()
	chunks := make([]apigpu.Chunk, 0, len(p.have))
	for s, sum := range p.have {
		chunks = append(chunks, apigpu.Chunk{Offset: s.start, Length: s.end - s.start, SHA256: sum})
	}
	slices.SortFunc(chunks, byOffset)
	return chunks
}

// WriteChunk writes data at its offset and records it. The same chunk again
// is no error. InvalidRequest: data is not what c says. Conflict: it disagrees
// with bytes that are here already. StorageFull: it may be tried again.
func (p *Partial) WriteChunk(ctx context.Context, c apigpu.Chunk, data []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := checkChunk(c, data); err != nil { // outside the lock: hashing takes the time
		return err
	}
	c.SHA256 = strings.ToLower(c.SHA256)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return fmt.Errorf("write chunk: %w", fs.ErrClosed)
	}
	if p.have[spanOf(c)] == c.SHA256 {
		return nil
	}
	if err := p.refuseOther(c, data); err != nil {
		return err
	}
	if len(p.have) >= maxChunks {
		return apigpu.E(apigpu.InvalidRequest, nil, "The result comes in more than %d chunks.", maxChunks)
	}
	crash.Point("blob.chunk")
	if _, err := p.file.WriteAt(data, c.Offset); err != nil {
		return storeError("write chunk", err)
	}
	crash.Point("blob.chunk.written")
	// WriteAt, not append: a record that was torn by a full volume is
	// written over by the next.
	n, err := p.records.WriteAt(formatRecord(c), p.end)
	if err != nil {
		return storeError("record chunk", err)
	}
	crash.Point("blob.chunk.recorded")
	p.end += int64(n)
	p.remember(c, data)
	return nil
}

// Commit turns the partial into the object as. It does so only when the
// chunks of m tile its length, the bytes of all of them are here and no
// others, and the whole has the digest of m; then the file is synced and
// renamed.
//
// An object that is there already is never overwritten. If its content is
// that of m, Commit returns it, whoever wrote it: so a commit may be repeated
// after a crash. If it is not, the error is Conflict.
//
// Other errors: InvalidRequest, m describes no file; NotReady, chunks are
// missing, and may still be written; Conflict, what is here is not what m
// describes, and never will be. After any error but these, close the partial
// and open it again.
func (p *Partial) Commit(ctx context.Context, m apigpu.Manifest, as string) (Object, error) {
	if err := check(ctx, as); err != nil {
		return Object{}, err
	}
	if err := CheckManifest(m); err != nil {
		return Object{}, err
	}
	sum := strings.ToLower(m.SHA256)
	p.mu.Lock()
	defer p.mu.Unlock()
	object, err := p.store.agree(ctx, as, m.Length, sum)
	if errors.Is(err, fs.ErrNotExist) {
		if err := p.seal(ctx, m.Length, sum); err != nil {
			return Object{}, err
		}
		object, err = p.store.publish(ctx, p.data, as, m.Length, sum)
	}
	if err != nil {
		return Object{}, err
	}
	if !p.released {
		// The object is safe: what is left of the partial can only be litter,
		// which Sweep finds if this fails.
		_ = p.discard()
	}
	return object, nil
}

// Close ends the writing and keeps what is here, to be resumed.
func (p *Partial) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.release()
	return p.shut()
}

// Abort ends the writing and removes what is here. After Close it does
// nothing: the files may have another writer by then.
func (p *Partial) Abort() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.release()
	if p.released {
		return nil
	}
	return p.discard()
}

// resume opens the files and believes what verifies.
func (p *Partial) resume(ctx context.Context) (err error) {
	const flags = os.O_RDWR | os.O_CREATE
	if p.file, err = os.OpenFile(p.data, flags, fileMode); err != nil {
		return err
	}
	if p.records, err = os.OpenFile(p.chunks, flags, fileMode); err != nil {
		return err
	}
	crash.Point("blob.partial.opened")
	lines, err := io.ReadAll(io.LimitReader(p.records, maxRecords))
	if err != nil {
		return err
	}
	chunks, end := parseRecords(lines)
	p.end = end
	slices.SortFunc(chunks, byOffset) // so that the whole is hashed on the way
	var buffer []byte
	for _, c := range chunks {
		if err := ctx.Err(); err != nil {
			return err
		}
		buffer = slices.Grow(buffer[:0], int(c.Length))[:c.Length]
		switch _, err := p.file.ReadAt(buffer, c.Offset); {
		case errors.Is(err, io.EOF): // recorded, but the bytes never reached the disk
		case err != nil:
			return err
		case holds(c, buffer):
			p.remember(c, buffer)
		}
	}
	return nil
}

// remember counts a chunk that is in the file.
func (p *Partial) remember(c apigpu.Chunk, data []byte) {
	p.have[spanOf(c)] = c.SHA256
	p.covered = addSpan(p.covered, spanOf(c))
	if c.Offset == p.hashed {
		p.whole.Write(data)
		p.hashed += c.Length
	}
}

// refuseOther compares data with what is here of the same bytes.
func (p *Partial) refuseOther(c apigpu.Chunk, data []byte) error {
	for _, part := range overlaps(p.covered, spanOf(c)) {
		here := make([]byte, part.end-part.start)
		if _, err := p.file.ReadAt(here, part.start); err != nil {
			return fmt.Errorf("read chunk: %w", err)
		}
		if !bytes.Equal(here, data[part.start-c.Offset:part.end-c.Offset]) {
			return apigpu.E(apigpu.Conflict, nil, "The chunk at %d differs from what was sent before.", c.Offset)
		}
	}
	return nil
}

// seal makes sure that the file is what was promised and lies on the disk,
// and closes it: Windows renames no open file.
func (p *Partial) seal(ctx context.Context, length int64, sum string) error {
	if p.closed {
		return fmt.Errorf("commit partial: %w", fs.ErrClosed)
	}
	if missing := length - coveredBefore(p.covered, length); missing > 0 {
		return apigpu.E(apigpu.NotReady, nil, "%d bytes of the result are missing.", missing)
	}
	if len(p.covered) != 1 || p.covered[0].end != length {
		return apigpu.E(apigpu.Conflict, nil, "More bytes of the result came than its manifest has.")
	}
	if err := p.hashRest(ctx, length); err != nil {
		return err
	}
	if hex.EncodeToString(p.whole.Sum(nil)) != sum {
		return apigpu.E(apigpu.Conflict, nil, "The bytes of the result are not those of its SHA-256.")
	}
	// A kill between writing and recording may have left bytes past the end.
	crash.Point("blob.seal")
	if err := p.file.Truncate(length); err != nil {
		return storeError("truncate partial", err)
	}
	if err := p.file.Sync(); err != nil {
		// After a failed sync the kernel may hold pages for clean that never
		// reached the disk, and the next sync would say all is well
		// (https://lwn.net/Articles/752063/). So this file is never believed again.
		return errors.Join(storeError("sync partial", err), p.discard())
	}
	crash.Point("blob.seal.synced")
	return p.shut()
}

// hashRest hashes what did not come in order.
func (p *Partial) hashRest(ctx context.Context, length int64) error {
	rest := io.NewSectionReader(p.file, p.hashed, length-p.hashed)
	n, err := io.Copy(p.whole, untilDone{ctx, rest})
	p.hashed += n
	if err != nil {
		return fmt.Errorf("hash partial: %w", err)
	}
	return nil
}

// coveredBefore counts the bytes of spans that lie before length.
func coveredBefore(spans []span, length int64) (n int64) {
	for _, part := range overlaps(spans, span{0, length}) {
		n += part.end - part.start
	}
	return n
}

// shut closes the files, once.
func (p *Partial) shut() error {
	if p.closed {
		return nil
	}
	p.closed = true
	var errs []error
	for _, f := range []*os.File{p.file, p.records} {
		if f != nil { // a partial that could not be opened
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// discard closes and removes the files. The record goes last: without the
// bytes it says nothing.
func (p *Partial) discard() error {
	return errors.Join(p.shut(), removeAll(p.data, p.chunks))
}

// release lets the key be opened again. Only the first call does: later the
// key may have another writer.
func (p *Partial) release() {
	if p.released {
		return
	}
	p.released = true
	p.store.mu.Lock()
	defer p.store.mu.Unlock()
	delete(p.store.writing, p.key)
}
