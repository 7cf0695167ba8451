package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"

	"modernc.org/sqlite"
)

// maxStatements is how many compiled statements one connection keeps: more than
// there are in this program.
const maxStatements = 200

// openPool is a pool of connections to SQLite that compile each statement once.
// The driver compiles at each call, which takes longer than most statements
// themselves; pgx keeps them by itself.
func openPool(dsn string) (*sql.DB, error) {
	c, err := sqlite.NewConnector(dsn)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector{c}), nil
}

type connector struct{ driver.Connector }

func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	raw, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	can, ok := raw.(driverConn)
	if !ok { // another version of the driver
		return nil, errors.Join(fmt.Errorf("the driver's connection is a %T", raw), raw.Close())
	}
	return &conn{driverConn: can, idle: map[string]compiled{}}, nil
}

// driverConn is what a connection of the driver can.
type driverConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// compiled is what a statement of the driver can.
type compiled interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// conn keeps the compiled statements of one connection that nobody uses now.
// database/sql lets one goroutine at a time use it.
type conn struct {
	driverConn
	idle map[string]compiled // by text
}

// take returns the statement, compiled, for the caller to give back.
func (c *conn) take(ctx context.Context, text string) (compiled, error) {
	if s := c.idle[text]; s != nil {
		delete(c.idle, text)
		return s, nil
	}
	s, err := c.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	return s.(compiled), nil // what database/sql itself asks of it
}

// give keeps a statement for the next, unless it failed: whatever state it is
// in is not worth to be known.
func (c *conn) give(text string, s compiled, failed bool) error {
	if failed || c.idle[text] != nil || len(c.idle) >= maxStatements {
		return s.Close()
	}
	c.idle[text] = s
	return nil
}

func (c *conn) ExecContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Result, error) {
	s, err := c.take(ctx, text)
	if err != nil {
		return nil, err
	}
	result, err := s.ExecContext(ctx, args)
	return result, errors.Join(err, c.give(text, s, err != nil))
}

func (c *conn) QueryContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Rows, error) {
	s, err := c.take(ctx, text)
	if err != nil {
		return nil, err
	}
	rows, err := s.QueryContext(ctx, args)
	if err != nil {
		return nil, errors.Join(err, c.give(text, s, true))
	}
	return &statementRows{Rows: rows, give: func(failed bool) error { return c.give(text, s, failed) }}, nil
}

// Close frees the statements first: SQLite keeps the connection of one that is
// not.
func (c *conn) Close() error {
	var errs []error
	for text, s := range c.idle {
		delete(c.idle, text)
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, c.driverConn.Close())...)
}

// statementRows gives its statement back when it is closed.
type statementRows struct {
	driver.Rows
	give func(failed bool) error // nil once it was
}

func (r *statementRows) Close() error {
	err := r.Rows.Close()
	if give := r.give; give != nil {
		r.give = nil
		err = errors.Join(err, give(err != nil))
	}
	return err
}
