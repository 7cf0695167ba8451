-- +goose Up
-- What stops renting, so that the next process, and every other, knows it.
-- Package fleet owns it.
CREATE TABLE stops (
    provider text    NOT NULL,
    code     text    NOT NULL,
    settings text    NOT NULL, -- those under which it came: with others it is forgotten
    reason   text    NOT NULL,
    detail   text    NOT NULL,
    since    bigint  NOT NULL,
    until    bigint  NOT NULL, -- when it is tried again
    tries    integer NOT NULL, -- in vain, since
    listing  integer NOT NULL, -- 1: a listing brought it, and the next good one ends it
    steady   integer NOT NULL, -- 1: a try costs nothing, and the time does not grow
    PRIMARY KEY (provider, code)
);

-- +goose Down
DROP TABLE stops;
