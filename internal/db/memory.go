package db

import (
	"context"
	"fmt"
	"net/url"
)

// Memory opens a database of SQLite that lives in memory and is gone when it is
// closed, for tests that need thousands of them. The name tells those of one
// process apart. There is no log in memory: whoever reads keeps a commit
// waiting, and the other way about.
func Memory(ctx context.Context, name string, opts Options) (*DB, error) {
	migrations, err := embedded()
	if err != nil {
		return nil, err
	}
	path := "/" + url.PathEscape(name)
	d, err := openPools(ctx, writerDSN(path, "OFF")+inMemory, readerDSN(path)+inMemory)
	if err != nil {
		return nil, fmt.Errorf("open database in memory: %w", err)
	}
	d.clock = NewClock(opts.now(), sinceNow())
	return d.migrated(ctx, opts, migrations)
}

// inMemory makes a DSN that of a file of SQLite's own file system in memory
// (https://www.sqlite.org/inmemorydb.html): names that begin with a slash are
// shared by the connections of the process.
const inMemory = "&vfs=memdb"
