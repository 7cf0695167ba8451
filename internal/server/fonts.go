package server

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/blob"
	"github.com/api-gpu/api-gpu/internal/caption"
	"github.com/api-gpu/api-gpu/internal/db"
	"github.com/api-gpu/api-gpu/internal/font"
	"github.com/api-gpu/api-gpu/internal/httpapi"
	"github.com/api-gpu/api-gpu/internal/queue"
	"github.com/api-gpu/api-gpu/internal/typeset"
)

// Fonts keeps the fonts that clients upload: the file in the store, what it
// is and which characters it has in the database.
type Fonts struct {
	DB   *db.DB
	Blob *blob.Store
}

// kept is a font of a client.
type kept struct {
	blob     string
	table    []byte
	families []string
}

// of reads the fonts of a client.
func (f *Fonts) of(ctx context.Context, client string) (list []kept, err error) {
	rows, err := f.DB.Read().QueryContext(ctx, `SELECT blob, faces FROM fonts WHERE client = $1 ORDER BY created_at, sha256`, db.Text(client))
	if err != nil {
		return nil, fmt.Errorf("list fonts: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var k kept
		var faces string
		if err := rows.Scan(&k.blob, &faces); err != nil {
			return nil, fmt.Errorf("read font: %w", err)
		}
		if k.table, err = base64.StdEncoding.DecodeString(faces); err != nil {
			return nil, fmt.Errorf("read font: %w", err)
		}
		set, err := font.Image().WithTables(k.table)
		if err != nil {
			return nil, err
		}
		k.families = set.Own()
		list = append(list, k)
	}
	return list, rows.Err()
}

// Add keeps a font of a client. The same file again changes nothing. The error
// is of code FontUnreadable where it is no font, Conflict where the client has
// MaxFonts already.
func (f *Fonts) Add(ctx context.Context, client string, b []byte) ([]apigpu.FontFamily, error) {
	table, _, err := font.Describe(b)
	if err != nil {
		return nil, apigpu.AsError(err).WithField("font")
	}
	raw := sha256.Sum256(b)
	sum := hex.EncodeToString(raw[:])
	mine := sha256.Sum256([]byte(client))
	key := queue.FontKey(sum, "of-"+hex.EncodeToString(mine[:8]))
	if _, err := f.Blob.Receive(ctx, key, bytes.NewReader(b), apigpu.MaxFont); err != nil {
		return nil, refusal(err)
	}
	err = f.DB.Tx(ctx, func(tx *sql.Tx) error {
		var n int
		if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM fonts WHERE client = $1 AND sha256 <> $2`, db.Text(client), sum).Scan(&n); err != nil {
			return err
		}
		if n >= apigpu.MaxFonts {
			return apigpu.E(apigpu.Conflict, nil, "The key has %d fonts already.", n).WithHint("Remove some: DELETE /fonts/{family}.")
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO fonts (client, sha256, blob, bytes, faces, created_at) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (client, sha256) DO NOTHING`,
			db.Text(client), sum, key, len(b), base64.StdEncoding.EncodeToString(table), db.Millis(f.DB.Now()))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("keep font: %w", err)
	}
	set, err := font.Image().WithTables(table)
	if err != nil {
		return nil, err
	}
	return families(set, set.Own()), nil
}

// List are the families that a client may name.
func (f *Fonts) List(ctx context.Context, client string) ([]apigpu.FontFamily, error) {
	mine, err := f.of(ctx, client)
	if err != nil {
		return nil, err
	}
	var tables [][]byte
	for _, k := range mine {
		tables = append(tables, k.table)
	}
	set, err := font.Image().WithTables(tables...)
	if err != nil {
		return nil, err
	}
	return families(set, set.Own()), nil
}

// families shows a set; those of own were uploaded.
func families(set *font.Set, own []string) []apigpu.FontFamily {
	var out []apigpu.FontFamily
	for _, one := range set.List() {
		shown := apigpu.FontFamily{Family: one.Name, Weights: one.Weights, Italic: one.Italic, Scripts: one.Scripts, Source: apigpu.BuiltIn}
		if contains(own, one.Name) {
			shown.Source = apigpu.Uploaded
		}
		out = append(out, shown)
	}
	return out
}

// contains compares names as font.Set does.
func contains(names []string, name string) bool {
	for _, n := range names {
		if strings.EqualFold(n, name) {
			return true
		}
	}
	return false
}

// Delete removes the fonts of a family that a client uploaded. Jobs that wait
// keep them. The error is of code FontNotFound where there is none.
func (f *Fonts) Delete(ctx context.Context, client, family string) error {
	mine, err := f.of(ctx, client)
	if err != nil {
		return err
	}
	found := false
	for _, k := range mine {
		if !contains(k.families, family) {
			continue
		}
		found = true
		err := f.DB.Tx(ctx, func(tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, `DELETE FROM fonts WHERE client = $1 AND blob = $2`, db.Text(client), k.blob)
			return err
		})
		if err != nil {
			return fmt.Errorf("remove font: %w", err)
		}
	}
	if !found {
		return apigpu.E(apigpu.FontNotFound, nil, "No font named %q was uploaded.", family)
	}
	return nil // the file goes with the sweep, once no job needs it
}

// Keys are the files of all fonts.
func (f *Fonts) Keys(ctx context.Context) ([]string, error) {
	keys, err := db.Column[string](ctx, f.DB.Read(), `SELECT blob FROM fonts`)
	if err != nil {
		return nil, fmt.Errorf("list fonts: %w", err)
	}
	return keys, nil
}

// cast is what the captions of a submission are drawn with.
type cast struct {
	use      font.Use
	warnings []apigpu.Warning
	keys     []string // of the store: uploaded fonts that the style names
	sent     [][]byte // fonts that came with it
}

// castOf finds out which fonts draw the captions. It refuses a family that
// nobody has, and fonts that cannot be read, before anything is paid for.
func (s *Jobs) castOf(ctx context.Context, who httpapi.Caller, sub httpapi.Submission, document caption.Document) (cast, error) {
	var out cast
	var tables [][]byte
	var sent []string
	for _, b := range sub.Fonts {
		table, infos, err := font.Describe(b)
		if err != nil {
			return out, apigpu.AsError(err).WithField("font")
		}
		for _, i := range infos {
			sent = append(sent, i.Family)
		}
		tables, out.sent = append(tables, table), append(out.sent, b)
	}
	if family := sub.Spec.Style.Font.Family; family != "" && s.Fonts != nil {
		mine, err := s.Fonts.of(ctx, who.Name)
		if err != nil {
			return out, err
		}
		for _, k := range mine {
			if contains(k.families, family) {
				tables, out.keys = append(tables, k.table), append(out.keys, k.blob)
			}
		}
	}
	if sub.Spec.Mode == apigpu.Soft {
		return cast{}, nil // the player draws it
	}
	set, err := font.Image().WithTables(tables...)
	if err != nil {
		return out, err
	}
	if family := sub.Spec.Style.Font.Family; family != "" && !set.Has(family) {
		return out, unknownFont(family, sent, set)
	}
	if document.Script != nil {
		return out, nil // it names its own
	}
	texts := make([]string, len(document.Cues))
	for i, c := range document.Cues {
		texts[i] = c.Text
	}
	style := sub.Spec.Style
	out.use = set.Use(texts, caption.Face{Family: style.Font.Family, Weight: style.Font.Weight}, sub.Spec.Language, style.Emoji == "" || style.Emoji == apigpu.EmojiColor)
	if len(out.use.Missing) > 0 {
		out.warnings = typeset.Warnings(caption.Notes{typeset.MissingGlyphs(out.use.Missing)})
		if sub.Spec.Strict {
			return out, apigpu.E(apigpu.SubtitleWarnings, nil, "The request is strict. %s", out.warnings[0].Message).
				WithHint("Send a font that has them along, or send the request without strict.")
		}
	}
	return out, nil
}

// mostAvailable bounds the list of fonts in an error.
const mostAvailable = 60

// unknownFont says that no font is called family. sent are the families that
// came with the request: who sends a file often knows its name alone.
func unknownFont(family string, sent []string, set *font.Set) error {
	e := apigpu.E(apigpu.FontUnknown, nil, "There is no font named %q.", family).WithField("style.font.family").
		WithHint("GET /fonts lists those that there are. Upload yours by POST /fonts, or send it along as form field font.")
	if len(sent) > 0 {
		e = e.WithHint("Fonts go by the names within them, not by those of their files. Those that came with the request: %s.", strings.Join(slices.Compact(sent), ", "))
	}
	e.Available = set.Names(mostAvailable)
	return e
}

// fontFiles reads all fonts that go along, for a preview: as many as a request
// may bring.
func (s *Jobs) fontFiles(ctx context.Context, c cast) (files [][]byte, err error) {
	files = c.sent
	left := int64(apigpu.MaxFont)
	for _, b := range files {
		left -= int64(len(b))
	}
	for _, key := range c.keys {
		content, object, err := s.Blob.Open(ctx, key)
		if err != nil {
			return nil, fmt.Errorf("open font: %w", err)
		}
		if left -= object.Size; left < 0 || len(files) == apigpu.MaxJobFonts {
			return files, content.Close() // a family of many: those that came first
		}
		b, err := io.ReadAll(content)
		if err = errors.Join(err, content.Close()); err != nil {
			return nil, fmt.Errorf("read font: %w", err)
		}
		files = append(files, b)
	}
	return files, nil
}

// keepSent stores fonts that came with a submission, and returns the keys of all
// that go along.
func (s *Jobs) keepSent(ctx context.Context, c cast) (keys []string, err error) {
	keys = c.keys
	for _, b := range c.sent {
		sum := sha256.Sum256(b)
		key := queue.FontKey(hex.EncodeToString(sum[:]), strings.ToLower(rand.Text()))
		if _, err := s.Blob.Receive(ctx, key, bytes.NewReader(b), apigpu.MaxFont); err != nil {
			return nil, errors.Join(refusal(err))
		}
		keys = append(keys, key)
	}
	return keys, nil
}
