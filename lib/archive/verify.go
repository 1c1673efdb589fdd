package archive

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"

	"pgpipes/lib/codec"
	"pgpipes/lib/manifest"
	"pgpipes/lib/wal"
)

// VerifyManifest reads the manifest of a backup to its end, where it proves
// whole.
func (r *Repo) VerifyManifest(ctx context.Context, label string) error {
	body, err := r.Manifest(ctx, label)
	if err != nil {
		return err
	}
	defer body.Close()
	m, err := manifest.NewReader(body)
	for err == nil {
		_, err = m.Next()
	}
	if err == io.EOF {
		return nil
	}
	return fmt.Errorf("%s: %w", baseKey(label, manifestName), err)
}

// VerifyParts compares the stored parts of a backup with their receipts by size,
// without reading them. Parts that other backups have stored are parts of it.
func (r *Repo) VerifyParts(ctx context.Context, h manifest.Header) error {
	if len(h.Parts) == 0 || slices.ContainsFunc(h.Parts, func(p manifest.Part) bool { return p.Key == "" }) {
		return fmt.Errorf("%s: its manifest names no stored parts", h.Label)
	}
	for _, p := range h.Parts {
		info, err := r.Stat(ctx, p.Key)
		if err == nil && info.Size != p.Size {
			err = otherSize(p, info.Size)
		}
		if err != nil {
			return fmt.Errorf("part %s: %w", p.Name, err)
		}
	}
	return nil
}

// VerifyWAL reads and checks every segment without which a backup cannot become
// consistent, but not those that it holds itself. What is missing is found by
// Coverage.MissingFor.
func (r *Repo) VerifyWAL(ctx context.Context, c Coverage, h manifest.Header) error {
	if h.WAL {
		return nil
	}
	for _, w := range c.needed(h) {
		for number := w.First; number <= w.Last; number++ {
			n, err := wal.ParseName(c.Size.Name(w.Timeline, number))
			if err != nil {
				return err
			}
			f, err := r.get(ctx, n, filepath.Join(os.TempDir(), n.String()), func(error) {})
			if err != nil {
				return err
			}
			f.Close()
		}
	}
	return nil
}

// Part opens a stored part of a backup, uncompressed. Its end is an error if the
// stored bytes are not those of the receipt.
func (r *Repo) Part(ctx context.Context, p manifest.Part) (io.ReadCloser, error) {
	body, err := r.Get(ctx, p.Key, 0, -1)
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	_, format := codec.SplitName(p.Key)
	z, err := codec.NewReaderFormat(io.TeeReader(body, sum), format, 0)
	if err != nil {
		body.Close()
		return nil, fmt.Errorf("%s: %w: %v", p.Key, ErrDamaged, err)
	}
	return &partReader{part: p, body: body, sum: sum, plain: z}, nil
}

type partReader struct {
	part  manifest.Part
	body  io.ReadCloser
	sum   hash.Hash
	plain io.ReadCloser
}

func (p *partReader) Read(b []byte) (int, error) {
	n, err := p.plain.Read(b)
	switch {
	case errors.Is(err, codec.ErrCorrupt):
		err = fmt.Errorf("%s: %w: %v", p.part.Key, ErrDamaged, err)
	case err == io.EOF && hex.EncodeToString(p.sum.Sum(nil)) != p.part.SHA256:
		err = fmt.Errorf("%s: %w: its SHA-256 is not that of its receipt", p.part.Key, ErrDamaged)
	}
	return n, err
}

func (p *partReader) Close() error { return errors.Join(p.plain.Close(), p.body.Close()) }
