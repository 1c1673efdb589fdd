package inspect

import (
	"context"
	"io"
	"iter"
	"sync"

	"golang.org/x/sync/errgroup"

	"pgpipes/lib/manifest"
	"pgpipes/lib/stream"
)

// A Reading is parts of one backup that are to be read and compared with its
// manifest.
type Reading struct {
	// List opens the manifest, which is read twice.
	List func() (io.ReadCloser, error)
	// Parts are those to read, and Open opens one.
	Parts []manifest.Part
	Open  func(manifest.Part) (io.ReadCloser, error)
	// Alone says that the backup has only this one part: what else is in it is a
	// difference. In others that is passed over.
	Alone bool
	Jobs  int // parts to read at once, and cores to use
	// Read is told of each part when it has been read, or why it could not be;
	// one call at a time. What is in the latter is not compared.
	Read func(p manifest.Part, err error)
}

// VerifyParts reads parts and gives the differences to the manifest: of each
// file that is listed to be in one of them, what the part holds. An error,
// which is never due to a part, is the last thing that comes.
func VerifyParts(ctx context.Context, r Reading) iter.Seq2[manifest.Difference, error] {
	return func(yield func(manifest.Difference, error) bool) {
		v := &partsVerifier{Reading: r, layers: manifest.NewLayers(""), whole: map[string]bool{}}
		defer v.layers.Close()
		err := v.readParts(ctx)
		if err == nil {
			err = v.compare(yield)
		}
		if err != nil {
			yield(manifest.Difference{}, err)
		}
	}
}

type partsVerifier struct {
	Reading
	mu     sync.Mutex
	layers *manifest.Layers // what the parts hold
	whole  map[string]bool  // names of parts that have been read
}

func (v *partsVerifier) readParts(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(v.Jobs, 1))
	for _, p := range v.Parts {
		group.Go(func() error {
			err := v.readPart(ctx, p)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			v.mu.Lock()
			defer v.mu.Unlock()
			v.whole[p.Name] = err == nil
			v.Read(p, err)
			return nil
		})
	}
	return group.Wait()
}

func (v *partsVerifier) readPart(ctx context.Context, p manifest.Part) error {
	in, err := v.Open(p)
	if err != nil {
		return err
	}
	defer in.Close()
	t := stream.NewIntake(in)
	t.Bare, t.Part, t.Cores = true, p.Name, v.cores()
	t.Inline = t.Cores == 1
	t.Note = func(e manifest.Entry) error {
		v.mu.Lock()
		defer v.mu.Unlock()
		return v.layers.Add(e)
	}
	return t.Run(ctx)
}

// cores are those for each of the parts that are read at once.
func (v *partsVerifier) cores() int {
	return stream.Decoders(v.Jobs / max(1, min(v.Jobs, len(v.Parts))))
}

// compare gives the differences. It returns what has kept it from doing so, nil
// if the caller wants no more.
func (v *partsVerifier) compare(yield func(manifest.Difference, error) bool) error {
	if v.Alone && !v.whole[v.Parts[0].Name] {
		return nil
	}
	want, err := v.list()
	if err != nil {
		return err
	}
	defer want.Close()
	got := v.layers.Latest()
	if !v.Alone {
		named, err := v.list()
		if err != nil {
			return err
		}
		defer named.Close()
		got = v.layers.Named(named)
	}
	for d, err := range stream.Compare(want, got, manifest.CompareOptions{}) {
		if err != nil {
			return err
		}
		if !yield(d, nil) {
			return nil
		}
	}
	return nil
}

// list is the manifest without what lies in other parts than those that have
// been read.
func (v *partsVerifier) list() (*partEntries, error) {
	body, err := v.List()
	if err != nil {
		return nil, err
	}
	m, err := manifest.NewReader(body)
	if err != nil {
		body.Close()
		return nil, err
	}
	return &partEntries{m, body, func(part string) bool { return v.Alone || v.whole[part] }}, nil
}

// partEntries are the entries of a manifest that are in certain parts.
type partEntries struct {
	*manifest.Reader
	io.Closer
	wanted func(part string) bool
}

func (p *partEntries) Next() (manifest.Entry, error) {
	for {
		e, err := p.Reader.Next()
		if err != nil || p.wanted(e.Part) {
			return e, err
		}
	}
}
