-- +goose Up
-- Who we are, and who may act: one row. Package fleet owns both tables.
CREATE TABLE fleet (
    one         integer NOT NULL PRIMARY KEY CHECK (one = 1),
    id          text    NOT NULL, -- part of every label
    secret      text    NOT NULL, -- root secret, hex: each worker's credentials derive from it
    epoch       bigint  NOT NULL, -- rises with every new holder
    holder      text    NOT NULL,
    lease_until bigint  NOT NULL
);

-- One row an instance, written before it is asked for and kept after it is
-- gone. The label is its identity; the provider's id is a cache.
CREATE TABLE instances (
    label        text    NOT NULL PRIMARY KEY,
    provider     text    NOT NULL,
    provider_id  text    NOT NULL DEFAULT '',
    state        text    NOT NULL CHECK (state IN ('planned', 'creating', 'booting', 'ready', 'destroying', 'gone')),
    reason       text    NOT NULL, -- why it is in this state, for people
    ambiguous    integer NOT NULL DEFAULT 0, -- the create call ended without an answer
    permanent    integer NOT NULL DEFAULT 0, -- never created or destroyed by us
    address      text    NOT NULL DEFAULT '',
    slots        integer NOT NULL DEFAULT 1,
    hourly_usd   bigint  NOT NULL DEFAULT 0, -- nanodollars
    worker       text    NOT NULL DEFAULT '{}',
    created_at   bigint  NOT NULL,
    state_since  bigint  NOT NULL,
    deadline     bigint  NOT NULL, -- when this state has lasted too long
    asked_at     bigint  NOT NULL DEFAULT 0, -- the create call was sent; later: answered
    end_asked_at bigint  NOT NULL DEFAULT 0, -- the last destroy call was sent
    ready_at     bigint  NOT NULL DEFAULT 0, -- first proof that it can encode; 0 before
    contact_at   bigint  NOT NULL DEFAULT 0, -- last authenticated answer of the worker
    idle_since   bigint  NOT NULL DEFAULT 0, -- 0 while a job runs on it
    absent_since bigint  NOT NULL DEFAULT 0  -- start of the first complete listing that lacks it
);
CREATE INDEX instances_live ON instances (state) WHERE state <> 'gone';

-- +goose Down
DROP TABLE instances;
DROP TABLE fleet;
