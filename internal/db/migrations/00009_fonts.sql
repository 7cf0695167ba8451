-- +goose Up
-- Fonts that clients keep here. The file is in the store under blob.
CREATE TABLE fonts (
    client     text   NOT NULL,
    sha256     text   NOT NULL, -- of the file
    blob       text   NOT NULL,
    bytes      bigint NOT NULL,
    faces      text   NOT NULL, -- names and characters; see package font
    created_at bigint NOT NULL,
    PRIMARY KEY (client, sha256)
);
-- Fonts that go along with a job: keys of the store, with commas between them.
ALTER TABLE jobs ADD COLUMN fonts text NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE jobs DROP COLUMN fonts;
DROP TABLE fonts;
