-- +goose Up
-- What has been shown to work, outside of this program. Package fleet owns it.
CREATE TABLE proofs (
    kind   text   PRIMARY KEY, -- what, and of whom
    at     bigint NOT NULL,    -- when it was shown last
    detail text   NOT NULL     -- how, for people
);

-- +goose Down
DROP TABLE proofs;
