-- +goose Up
-- A request that is sent again joins its job: one row a client and key, as
-- rows without a key are all distinct (NULL). Deleting the job frees the key.
ALTER TABLE jobs ADD COLUMN idempotency_key text;
ALTER TABLE jobs ADD COLUMN idempotency_digest text; -- of what was asked for, SHA-256 in hex
ALTER TABLE jobs ADD COLUMN idempotency_until bigint CHECK ((idempotency_until IS NULL) = (idempotency_key IS NULL));
CREATE UNIQUE INDEX jobs_once ON jobs (client, idempotency_key);

-- The message about the end of a job. It is written with the request and due
-- as soon as finished_at is there, so whatever ends a job makes it due in the
-- same transaction. Its tries are the fence of who sends it.
ALTER TABLE jobs ADD COLUMN base text NOT NULL DEFAULT ''; -- address under which the client reached us
ALTER TABLE jobs ADD COLUMN webhook_url text NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN webhook_host text NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN webhook_status text NOT NULL DEFAULT '' CHECK (webhook_status IN ('', 'pending', 'delivered', 'failed'));
ALTER TABLE jobs ADD COLUMN webhook_tries integer NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN webhook_error text NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN webhook_due bigint CHECK ((webhook_due IS NOT NULL) = (webhook_status = 'pending')); -- not before this; a sender moves it on while it sends
CREATE INDEX jobs_webhook ON jobs (webhook_due) WHERE webhook_due IS NOT NULL AND finished_at IS NOT NULL;

-- +goose Down
DROP INDEX jobs_webhook;
ALTER TABLE jobs DROP COLUMN webhook_due;
ALTER TABLE jobs DROP COLUMN webhook_error;
ALTER TABLE jobs DROP COLUMN webhook_tries;
ALTER TABLE jobs DROP COLUMN webhook_status;
ALTER TABLE jobs DROP COLUMN webhook_host;
ALTER TABLE jobs DROP COLUMN webhook_url;
ALTER TABLE jobs DROP COLUMN base;
DROP INDEX jobs_once;
ALTER TABLE jobs DROP COLUMN idempotency_until;
ALTER TABLE jobs DROP COLUMN idempotency_digest;
ALTER TABLE jobs DROP COLUMN idempotency_key;
