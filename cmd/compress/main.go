// Compress is a filter: standard input, compressed or decompressed, to standard
// output.
package main

import (
	"context"
	"errors"
	"io"

	"pgpipes/lib/cli"
	"pgpipes/lib/codec"
)

// buffer is the size of reads and writes in bytes.
const buffer = 256 << 10

var options struct {
	cli.Compression
	Decompress bool `short:"d" long:"decompress" description:"decompress; the format is recognised unless -c none says that there is none"`
}

func main() {
	cli.Main(cli.Program{
		Name:    "compress",
		Summary: "Compress standard input to standard output, or decompress it.",
		Description: `The formats are those of the stock programs: what they write is read here, and
the other way round. zstd is written as independent frames with a seek table,
so that both directions use all cores. Decompression refuses input that is cut
or followed by something else, and does not use more memory than it must.

  base-copy -D "$PGDATA" | compress > base.tar.zst
  compress -d < base.tar.zst | tar -t`,
		Options: &options,
		Action:  cli.Action{Run: run},
	})
}

func run(_ context.Context, p *cli.Process, _ []string) error {
	o, err := options.Codec(0)
	if err != nil {
		return err
	}
	if err := p.RefuseClosedInput(); err != nil {
		return err
	}
	p.WidenPipes()
	if options.Decompress {
		return decompress(p, o)
	}
	if o.Format != codec.None {
		if err := p.CheckOutput(); err != nil {
			return err
		}
	}
	z, err := codec.NewWriter(p.Out, o)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(z, p.In, make([]byte, buffer))
	if err != nil { // an end mark would make a cut stream look whole
		return err
	}
	return z.Close()
}

func decompress(p *cli.Process, o codec.Options) error {
	if o.Format == codec.None {
		_, err := io.CopyBuffer(p.Out, p.In, make([]byte, buffer))
		return err
	}
	z, err := codec.NewReader(p.In, o.Jobs)
	if errors.Is(err, codec.ErrFormat) {
		return cli.Hint(cli.Failure(err), "-c none copies what is not compressed")
	}
	if err != nil {
		return err
	}
	defer z.Close()
	_, err = io.CopyBuffer(p.Out, z, make([]byte, buffer))
	return err
}
