package main

import (
	"cmp"
	"context"
	"fmt"
	"io"

	"pgpipes/lib/cli"
	"pgpipes/lib/codec"
)

var putOptions struct {
	Format string   `short:"c" long:"compress" choice:"zstd" choice:"gzip" choice:"xz" choice:"lz4" choice:"none" description:"compress it before; KEY must end in the format's suffix"`
	Level  int      `short:"l" long:"level" env:"PGPIPES_LEVEL" value-name:"N" description:"how hard to compress; by default what suits the format"`
	Jobs   cli.Jobs `short:"j" long:"jobs" env:"PGPIPES_JOBS" value-name:"N" description:"how many cores to compress with; all by default"`
}

func runPut(ctx context.Context, p *cli.Process, operands []string) error {
	key := operands[0]
	if err := refuseOwn(key); err != nil {
		return err
	}
	if err := p.RefuseClosedInput(); err != nil {
		return err
	}
	o, err := putCodec(key)
	if err != nil {
		return err
	}
	r, err := open(ctx)
	if err != nil {
		return err
	}
	receipt, err := r.Put(ctx, key, func(w io.Writer) error { return compress(w, p.In, o) })
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(p.Text, receipt)
	return err
}

// putCodec checks the options, and that the key's suffix does not lie about
// what will be stored: readers believe it.
func putCodec(key string) (codec.Options, error) {
	name := cmp.Or(putOptions.Format, codec.None.Name)
	o, err := cli.Compression{Format: name, Level: putOptions.Level, Jobs: putOptions.Jobs}.Codec(0)
	if _, suffix := codec.SplitName(key); err == nil && o.Format != codec.None && suffix != o.Format {
		err = cli.Usagef("%s: the key of what is compressed with %s ends in %s", key, o.Format, o.Format.Suffix)
	}
	return o, err
}

// buffer is the size of reads in bytes.
const buffer = 256 << 10

// compress copies a stream, compressed. It ends it only when the input has
// ended in order: an end mark would make a cut stream look whole.
func compress(w io.Writer, from io.Reader, o codec.Options) error {
	z, err := codec.NewWriter(w, o)
	if err != nil {
		return err
	}
	if _, err := io.CopyBuffer(z, from, make([]byte, buffer)); err != nil {
		return err
	}
	return z.Close()
}
