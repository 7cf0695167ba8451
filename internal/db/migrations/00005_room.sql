-- +goose Up
-- What each job may fill of the storage: promised while it is open, taken while
-- its result is kept. Jobs that are open now were promised nothing in
-- particular: 64 MiB, as where nothing is known of a video.
ALTER TABLE jobs ADD COLUMN room bigint NOT NULL DEFAULT 0; -- bytes
ALTER TABLE jobs ADD COLUMN evicted integer NOT NULL DEFAULT 0; -- the result went before its time
UPDATE jobs SET room = 67108864 WHERE status IN ('queued', 'running');
-- Both hold all that the sums need.
CREATE INDEX jobs_room ON jobs (status, room) WHERE status IN ('queued', 'running');
CREATE INDEX jobs_kept ON jobs (finished_at, keep_for, room) WHERE result <> '';

-- +goose Down
DROP INDEX jobs_kept;
DROP INDEX jobs_room;
ALTER TABLE jobs DROP COLUMN evicted;
ALTER TABLE jobs DROP COLUMN room;
