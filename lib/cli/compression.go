package cli

import "pgpipes/lib/codec"

// Compression are the options of programs that compress.
type Compression struct {
	Format string `short:"c" long:"compress" env:"PGPIPES_COMPRESS" default:"zstd" choice:"zstd" choice:"gzip" choice:"xz" choice:"lz4" choice:"none" description:"how to compress"`
	Level  int    `short:"l" long:"level" env:"PGPIPES_LEVEL" value-name:"N" description:"how hard, 1 to 9 or as the format allows; by default what suits the format"`
	Jobs   Jobs   `short:"j" long:"jobs" env:"PGPIPES_JOBS" value-name:"N" description:"how many cores to use; all by default"`
}

// Codec checks the options. Frame is the bytes of input to compress at once.
func (c Compression) Codec(frame int) (codec.Options, error) {
	format, err := codec.ByName(c.Format)
	if err != nil {
		return codec.Options{}, err
	}
	if format == codec.None {
		c.Level = 0 // one in the environment is meant for other formats
	}
	o := codec.Options{Format: format, Level: c.Level, Jobs: int(c.Jobs), Frame: frame}
	return o, Mistake(o.Check())
}
