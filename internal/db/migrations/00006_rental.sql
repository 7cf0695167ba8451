-- +goose Up
-- What renting a machine brings: its terms, its lease, what is reserved for it
-- and what it cost. Package fleet owns instances, hosts and charges, package
-- queue jobs and attempts. Money is in nanodollars.
ALTER TABLE instances ADD COLUMN terms          text   NOT NULL DEFAULT '{}'; -- JSON: the offer that it was rented by
ALTER TABLE instances ADD COLUMN started_at     bigint NOT NULL DEFAULT 0;    -- first listing in which its container runs
ALTER TABLE instances ADD COLUMN message        text   NOT NULL DEFAULT '';   -- the provider's last word about it
ALTER TABLE instances ADD COLUMN message_at     bigint NOT NULL DEFAULT 0;    -- when that last changed
ALTER TABLE instances ADD COLUMN fault          text   NOT NULL DEFAULT '';   -- whose fault it is that it does not work
ALTER TABLE instances ADD COLUMN lease_until    bigint NOT NULL DEFAULT 0;    -- until when its worker lives unless it is renewed
ALTER TABLE instances ADD COLUMN reserved_until bigint NOT NULL DEFAULT 0;    -- until when its time is reserved
ALTER TABLE instances ADD COLUMN reserved_down  bigint NOT NULL DEFAULT 0;    -- bytes into it that are reserved
ALTER TABLE instances ADD COLUMN reserved_up    bigint NOT NULL DEFAULT 0;    -- bytes out of it
ALTER TABLE instances ADD COLUMN ended_at       bigint NOT NULL DEFAULT 0;    -- when it ended, as far as is known
ALTER TABLE instances ADD COLUMN blame          text   NOT NULL DEFAULT '';   -- on whom it is that it ended: '', machine, image, operator
ALTER TABLE instances ADD COLUMN listed_usd     bigint NOT NULL DEFAULT 0;    -- what an hour costs as its provider lists it
ALTER TABLE instances ADD COLUMN address_at     bigint NOT NULL DEFAULT 0;    -- when its address last changed
ALTER TABLE instances ADD COLUMN heard_at       bigint NOT NULL DEFAULT 0;    -- first answer of its worker in this state
ALTER TABLE instances ADD COLUMN cost_usd       bigint NOT NULL DEFAULT 0;
ALTER TABLE instances ADD COLUMN cost_state     text   NOT NULL DEFAULT '';   -- '', estimated, final
CREATE INDEX instances_created ON instances (created_at);

-- Those whose accounts are open, and those that count against a budget.
CREATE INDEX instances_open ON instances (cost_state) WHERE state = 'gone' AND permanent = 0 AND cost_state <> 'final';
CREATE INDEX instances_gone ON instances (state_since) WHERE state = 'gone';

-- What is remembered of machines and their owners.
CREATE TABLE hosts (
    provider      text             NOT NULL,
    kind          text             NOT NULL CHECK (kind IN ('machine', 'host')),
    id            text             NOT NULL,
    failures      double precision NOT NULL DEFAULT 0, -- decayed, as of noted_at
    boots         double precision NOT NULL DEFAULT 0, -- that came to a worker that was ready; decayed too
    boot_ms       bigint           NOT NULL DEFAULT 0, -- their mean time
    in_a_row      integer          NOT NULL DEFAULT 0, -- failures since the last success; of an owner, machines that failed
    reason        text             NOT NULL DEFAULT '', -- of the last failure
    failed_at     bigint           NOT NULL DEFAULT 0,
    blocked_until bigint           NOT NULL DEFAULT 0,
    noted_at      bigint           NOT NULL,
    PRIMARY KEY (provider, kind, id)
);

-- The parts of what each instance cost. They sum to its cost_usd. A part
-- without a job is boot or idle time that no job can be asked to bear.
CREATE TABLE charges (
    label   text    NOT NULL REFERENCES instances (label),
    job_id  text    NOT NULL DEFAULT '',
    attempt integer NOT NULL DEFAULT 0,
    kind    text    NOT NULL CHECK (kind IN ('work', 'boot', 'idle')),
    usd     bigint  NOT NULL,
    state   text    NOT NULL CHECK (state IN ('estimated', 'final')),
    PRIMARY KEY (label, job_id, attempt, kind)
);
CREATE INDEX charges_job ON charges (job_id) WHERE job_id <> '';

-- One row a start of a job on a worker, kept as long as the money it cost is
-- told of.
CREATE TABLE attempts (
    job_id     text    NOT NULL,
    attempt    integer NOT NULL,
    instance   text    NOT NULL,
    slot       integer NOT NULL,
    started_at bigint  NOT NULL,
    ended_at   bigint  NOT NULL DEFAULT 0, -- 0 while it runs
    down_bytes bigint  NOT NULL DEFAULT 0, -- into the instance
    up_bytes   bigint  NOT NULL DEFAULT 0, -- out of it
    PRIMARY KEY (job_id, attempt)
);
CREATE INDEX attempts_instance ON attempts (instance);

-- What a job is expected to take, and what it cost.
ALTER TABLE jobs ADD COLUMN video_seconds double precision NOT NULL DEFAULT 0;  -- length of the source; 0 where it is not known
ALTER TABLE jobs ADD COLUMN video_bytes   bigint           NOT NULL DEFAULT 0;  -- its size; 0 where it is not known
ALTER TABLE jobs ADD COLUMN cost_usd      bigint           NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN cost_state    text             NOT NULL DEFAULT ''; -- '', estimated, final

-- +goose Down
ALTER TABLE jobs DROP COLUMN cost_state;
ALTER TABLE jobs DROP COLUMN cost_usd;
ALTER TABLE jobs DROP COLUMN video_bytes;
ALTER TABLE jobs DROP COLUMN video_seconds;
DROP TABLE attempts;
DROP TABLE charges;
DROP TABLE hosts;
DROP INDEX instances_open;
DROP INDEX instances_gone;
DROP INDEX instances_created;
ALTER TABLE instances DROP COLUMN cost_state;
ALTER TABLE instances DROP COLUMN cost_usd;
ALTER TABLE instances DROP COLUMN heard_at;
ALTER TABLE instances DROP COLUMN address_at;
ALTER TABLE instances DROP COLUMN listed_usd;
ALTER TABLE instances DROP COLUMN blame;
ALTER TABLE instances DROP COLUMN ended_at;
ALTER TABLE instances DROP COLUMN reserved_up;
ALTER TABLE instances DROP COLUMN reserved_down;
ALTER TABLE instances DROP COLUMN reserved_until;
ALTER TABLE instances DROP COLUMN lease_until;
ALTER TABLE instances DROP COLUMN fault;
ALTER TABLE instances DROP COLUMN message_at;
ALTER TABLE instances DROP COLUMN message;
ALTER TABLE instances DROP COLUMN started_at;
ALTER TABLE instances DROP COLUMN terms;
