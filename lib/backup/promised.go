package backup

import (
	"io"

	"pgpipes/lib/manifest"
	"pgpipes/lib/pgdata"
	"pgpipes/lib/stream"
)

// promised compares the files that a server sends with its own manifest of them,
// which comes last.
type promised struct {
	list *stream.InnerManifest
	said manifest.ServerManifest
	came bool
}

func newPromised() promised { return promised{list: stream.NewInnerManifest()} }

func (p *promised) close() {
	if p.list != nil {
		p.list.Close()
	}
}

// watch notes a file as it is read. When it has been read to its end it counts
// as come.
func (p *promised) watch(in io.Reader, m stream.Member) (io.Reader, error) {
	sum, err := p.list.Place(m)
	return &summedReader{io.TeeReader(in, sum), sum}, err
}

// A summedReader notes a file's checksum at its end.
type summedReader struct {
	io.Reader
	sum io.Closer // nil when it is noted
}

func (w *summedReader) Read(b []byte) (int, error) {
	n, err := w.Reader.Read(b)
	if err == io.EOF && w.sum != nil {
		if cerr := w.sum.Close(); cerr != nil {
			err = cerr
		}
		w.sum = nil
	}
	return n, err
}

// read takes the server's manifest.
func (p *promised) read(in io.Reader) (err error) {
	p.came = true
	p.said, err = manifest.ReadServerManifest(in, p.list.Want)
	return err
}

// check fails unless all that was promised has come, and nothing else.
func (p *promised) check(system uint64) error {
	if !p.came {
		return stream.Bad("the server has sent no %s", pgdata.ManifestFile)
	}
	if p.list.Algorithm() != "CRC32C" {
		return stream.Bad("%s has not the checksums that were asked for but %q", pgdata.ManifestFile, p.list.Algorithm())
	}
	if p.said.Version > 1 && p.said.SystemID != system {
		return stream.Bad("%s is of another cluster", pgdata.ManifestFile)
	}
	return p.list.CheckSums(pgdata.IsWAL)
}
