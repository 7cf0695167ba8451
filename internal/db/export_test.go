package db

// For the tests on PostgreSQL, which use dbtest, which uses this package.
var (
	OpenMigrations = open
	SchemaFirst    = first
	SchemaBoth     = both
	SchemaBroken   = broken
	Add            = add
)

const TxTries = txTries
