package store

import (
	"bytes"
	"context"
	"io"
	"os"
	"testing"

	"github.com/pkg/sftp"

	"pgpipes/lib/sftpmsg"
)

// discarding is where requests go that nobody reads.
type discarding struct{ io.Writer }

func (discarding) Close() error { return nil }

// Whatever is answered, the library comes to an end, and does not panic.
func FuzzAnswers(f *testing.F) {
	for _, m := range []string{
		"\x65\x00\x00\x00\x01\x00\x00\x00\x00", "\x66\x00\x00\x00\x01\x00\x00\x00\x01h", "\x67\x00\x00\x00\x01\x00\x00\x00\x01x",
		"\x69\x00\x00\x00\x01\x00\x00\x00\x0d\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x81\xa4\x00\x00\x00\x00\x00\x00\x00\x00",
		"\x68\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x01k\x00\x00\x00\x00\x00\x00\x00\x0d",
	} {
		f.Add(append(sftpmsg.Message("\x66\x00\x00\x00\x01\x00\x00\x00\x01h").Bytes(), sftpmsg.Message(m).Bytes()...))
		f.Add(sftpmsg.Message(m).Bytes())
	}
	version := sftpmsg.Message("\x02\x00\x00\x00\x03").Bytes()
	f.Fuzz(func(t *testing.T, answers []byte) {
		for what, ask := range map[string]func(*sftp.Client) error{
			"stat": func(c *sftp.Client) error {
				info, err := c.Stat("k")
				if err == nil && info.Size() < 0 {
					t.Error("a size below zero")
				}
				return err
			},
			"list": func(c *sftp.Client) error { _, err := c.ReadDirContext(context.Background(), "k"); return err },
			"read": func(c *sftp.Client) error {
				file, err := c.Open("k")
				if err != nil {
					return err
				}
				_, err = file.WriteTo(io.Discard)
				return err
			},
			"write": func(c *sftp.Client) error {
				file, err := c.OpenFile("k", os.O_WRONLY|os.O_CREATE|os.O_EXCL)
				if err != nil {
					return err
				}
				_, err = file.ReadFromWithConcurrency(bytes.NewReader(make([]byte, 100000)), 0)
				return err
			},
		} {
			w := newWire(io.MultiReader(bytes.NewReader(version), bytes.NewReader(answers)), discarding{io.Discard})
			c, err := sftp.NewClientPipe(w, w)
			if err != nil {
				t.Fatal(err)
			}
			_ = ask(c)
			if c.Wait() == nil {
				t.Errorf("%s: no end", what)
			}
		}
	})
}
