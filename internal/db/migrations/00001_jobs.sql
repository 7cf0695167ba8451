-- +goose Up
-- One row a job, from the request to the end of its result. Package queue owns
-- it. Times are milliseconds since 1970 UTC; values that only Go reads are JSON.
CREATE TABLE jobs (
    id               text    NOT NULL PRIMARY KEY,
    client           text    NOT NULL, -- name of the key that made it
    operation        text    NOT NULL,
    status           text    NOT NULL CHECK (status IN ('queued', 'running', 'succeeded', 'failed', 'canceled', 'expired')),
    phase            text    NOT NULL,
    phase_note       text    NOT NULL DEFAULT '',
    progress         double precision NOT NULL DEFAULT 0,
    revision         bigint  NOT NULL DEFAULT 1, -- rises with every change
    spec             text    NOT NULL,
    upload           text    NOT NULL DEFAULT '', -- blob key of an uploaded video
    push             integer NOT NULL DEFAULT 0,  -- the video travels through the orchestrator
    captions         text    NOT NULL,
    warnings         text    NOT NULL,
    stats            text    NOT NULL,
    video            text,
    error            text,
    result           text    NOT NULL DEFAULT '', -- blob key of the committed result
    created_at       bigint  NOT NULL,
    started_at       bigint,
    finished_at      bigint,
    waiting_until    bigint  NOT NULL,
    run_for          bigint  NOT NULL, -- milliseconds that one run may take
    running_until    bigint,
    keep_for         bigint  NOT NULL, -- milliseconds that the result is kept
    expires_at       bigint  NOT NULL, -- when the result goes, at the latest
    link_until       bigint  NOT NULL, -- fixed at the request: signed into video_url
    attempt          integer NOT NULL DEFAULT 0,
    blamed           integer NOT NULL DEFAULT 0, -- attempts that were the job's own fault
    owner            text,    -- who drives: new at each claim and take-over
    lease_until      bigint,
    instance         text,
    slot             integer,
    cancel_requested integer NOT NULL DEFAULT 0,

    CHECK ((status = 'running') = (owner IS NOT NULL)),
    CHECK ((status = 'running') = (lease_until IS NOT NULL)),
    CHECK ((status = 'running') = (running_until IS NOT NULL)),
    CHECK ((status = 'running') = (instance IS NOT NULL AND slot IS NOT NULL)),
    CHECK ((status IN ('succeeded', 'failed', 'canceled', 'expired')) = (finished_at IS NOT NULL)),
    CHECK ((status = 'succeeded') = (video IS NOT NULL)),
    CHECK ((status IN ('failed', 'canceled', 'expired')) = (error IS NOT NULL))
);

-- Busy is not a state: it is a running job that holds a slot, and only one can.
CREATE UNIQUE INDEX jobs_slot ON jobs (instance, slot) WHERE status = 'running';
-- The queue, in its order; and what its rounds ask of it.
CREATE INDEX jobs_queue ON jobs (created_at, id) WHERE status = 'queued';
CREATE INDEX jobs_waiting ON jobs (waiting_until, cancel_requested) WHERE status = 'queued';
CREATE INDEX jobs_note ON jobs (phase_note) WHERE status = 'queued';
CREATE INDEX jobs_open ON jobs (client, status) WHERE status IN ('queued', 'running');
CREATE INDEX jobs_upload ON jobs (upload) WHERE upload <> '';
CREATE INDEX jobs_client ON jobs (client, id);
CREATE INDEX jobs_expiry ON jobs (expires_at);
CREATE INDEX jobs_finished ON jobs (finished_at) WHERE finished_at IS NOT NULL;

-- The subtitle file of each job, which goes with it. Apart, since it may be
-- large, is read once a run, and would stand in the way of all other reads.
CREATE TABLE subtitles (
    job_id  text NOT NULL PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    content blob NOT NULL
);

-- +goose Down
DROP TABLE subtitles;
DROP TABLE jobs;
