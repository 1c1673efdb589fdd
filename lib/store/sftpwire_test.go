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
	version := sftpmsg.Message("\x02\x00\x00\x00\x03\x00\x00\x00\x12limits@openssh.com\x00\x00\x00\x011").Bytes()
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

// packets are the writes that reach the connection.
type packets [][]byte

func (p *packets) Write(b []byte) (int, error) {
	*p = append(*p, bytes.Clone(b))
	return len(b), nil
}

func (p *packets) Close() error { return nil }

// What the library writes in pieces goes in one.
func TestWireJoins(t *testing.T) {
	var sent packets
	w := newWire(bytes.NewReader(nil), &sent)
	data := sftpmsg.Message("\x06\x00\x00\x00\x01\x00\x00\x00\x01h\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x04data").Bytes()
	empty := sftpmsg.Message("\x04\x00\x00\x00\x02\x00\x00\x00\x01h").Bytes()
	for _, piece := range [][]byte{data[:len(data)-4], data[len(data)-4 : len(data)-1], data[len(data)-1:], empty} {
		if n, err := w.Write(piece); n != len(piece) || err != nil {
			t.Fatal(n, err)
		}
	}
	if len(sent) != 2 || !bytes.Equal(sent[0], data) || !bytes.Equal(sent[1], empty) {
		t.Errorf("%q", sent)
	}
}
