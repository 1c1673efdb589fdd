package base

import (
	"context"
	"fmt"
	"io"
	"iter"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"

	"pgpipes/lib/manifest"
)

// VerifyParts reads all parts of a backup and gives the differences to its
// manifest: of each file that is listed, what the part holds that the manifest
// names. What else is in the parts is passed over. The manifest is read twice.
// An error, which names the part if it is due to one, is the last thing that
// comes.
func VerifyParts(ctx context.Context, list func() (io.ReadCloser, error), open func(manifest.Part) (io.ReadCloser, error)) iter.Seq2[manifest.Difference, error] {
	return func(yield func(manifest.Difference, error) bool) {
		v := &partsVerifier{open: open, layers: manifest.NewLayers("")}
		defer v.layers.Close()
		want, err := list()
		if err == nil {
			defer want.Close()
			v.want, err = manifest.NewReader(want)
		}
		if err == nil {
			err = v.readParts(ctx)
		}
		var named io.ReadCloser
		if err == nil {
			named, err = list()
		}
		if err == nil {
			defer named.Close()
			v.named, err = manifest.NewReader(named)
		}
		if err != nil {
			yield(manifest.Difference{}, err)
			return
		}
		compare(v.want, v.layers.Named(v.named), manifest.CompareOptions{})(yield)
	}
}

type partsVerifier struct {
	open        func(manifest.Part) (io.ReadCloser, error)
	want, named *manifest.Reader // the manifest, twice
	mu          sync.Mutex
	layers      *manifest.Layers // what the parts hold
}

func (v *partsVerifier) readParts(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, p := range v.want.Header().Parts {
		group.Go(func() error {
			if err := v.readPart(ctx, p); err != nil {
				return fmt.Errorf("part %s: %w", p.Name, err)
			}
			return nil
		})
	}
	return group.Wait()
}

func (v *partsVerifier) readPart(ctx context.Context, p manifest.Part) error {
	in, err := v.open(p)
	if err != nil {
		return err
	}
	defer in.Close()
	t := newIntake(in, "")
	defer t.entries.Close()
	t.bare, t.part = true, p.Name
	t.note = func(e manifest.Entry) error {
		v.mu.Lock()
		defer v.mu.Unlock()
		return v.layers.Add(e)
	}
	return t.run(ctx)
}
