package archive

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"

	"pgpipes/lib/codec"
	"pgpipes/lib/manifest"
)

// VerifyParts compares the stored parts of a backup with their receipts by size,
// without reading them. Parts that other backups have stored are parts of it.
func (r *Repo) VerifyParts(ctx context.Context, h manifest.Header) error {
	if len(h.Parts) == 0 || slices.ContainsFunc(h.Parts, func(p manifest.Part) bool { return p.Key == "" }) {
		return fmt.Errorf("%s: %w: its manifest names no stored parts", h.Label, ErrDamaged)
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

// NewPartReader uncompresses a part as it is stored, with so many cores. Its end is
// ErrDamaged if the stored bytes are not those of the receipt. It closes body, also
// when it cannot be made.
func NewPartReader(body io.ReadCloser, p manifest.Part, cores int) (io.ReadCloser, error) {
	sum := sha256.New()
	_, format := codec.SplitName(p.Key)
	z, err := codec.NewReaderFormat(io.TeeReader(body, sum), format, cores)
	if err != nil {
		body.Close()
		return nil, damagedPart(p, err)
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
	case err != nil && err != io.EOF:
		err = damagedPart(p.part, err)
	case err == io.EOF && hex.EncodeToString(p.sum.Sum(nil)) != p.part.SHA256:
		err = fmt.Errorf("%s: %w: its SHA-256 is not that of its receipt", p.part.Key, ErrDamaged)
	}
	return n, err
}

// damagedPart makes ErrDamaged of what is wrong in a part, and of nothing else: one
// that cannot be reached may be whole.
func damagedPart(p manifest.Part, err error) error {
	if errors.Is(err, codec.ErrCorrupt) {
		return fmt.Errorf("%s: %w: %v", p.Key, ErrDamaged, err)
	}
	return err
}

func (p *partReader) Close() error { return errors.Join(p.plain.Close(), p.body.Close()) }
