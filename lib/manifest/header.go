package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

const (
	versionKey  = "pgpipes-manifest"
	versionLine = versionKey + "\t1"
	extraPrefix = "x-"

	// maxLine is the longest line, LF included: two paths of the greatest
	// length, every byte of them escaped, fit.
	maxLine = 64 << 10

	// maxHeader bounds the memory that a header can ask for.
	maxHeader = 64 << 20
)

var errUnknownKey = errors.New("unknown header key")

// append writes the header, the line of the format version first.
func (h *Header) append(b []byte) []byte {
	b = append(b, versionLine+"\n"...)
	for _, f := range fields {
		for _, value := range f.values(h) {
			b = fmt.Appendf(b, "%s\t%s\n", f.key, value)
		}
	}
	for _, x := range h.Extra {
		b = fmt.Appendf(b, "%s\t%s\n", x[0], x[1])
	}
	return b
}

// Text is the header as it stands at the beginning of a manifest.
func (h Header) Text() []byte { return h.append(nil) }

// marshal writes the header and makes sure that a reader will understand it.
func (h *Header) marshal() ([]byte, error) {
	b := h.append(nil)
	var p headerParser
	for line := range bytes.Lines(b[len(versionLine)+1:]) {
		if err := p.add(strings.TrimSuffix(string(line), "\n")); err != nil {
			return nil, err
		}
	}
	if !bytes.Equal(p.header.append(nil), b) {
		return nil, errors.New("header: a value cannot be written")
	}
	return b, nil
}

// headerParser takes the lines of a header after the first.
type headerParser struct {
	header Header
	rank   int // fields before this one may not come any more
	size   int
	parts  partSet
}

// add takes a line without its LF.
func (p *headerParser) add(line string) error {
	if p.size += len(line) + 1; p.size > maxHeader || len(line) >= maxLine {
		return errors.New("the header is too long")
	}
	key, value, _ := strings.Cut(line, "\t")
	if strings.HasPrefix(key, extraPrefix) {
		return p.addExtra(key, value)
	}
	i := fieldIndex(key)
	switch {
	case key == "" || key == versionKey:
		return errors.New("not a line of the header")
	case i < 0:
		return fmt.Errorf("%w %s", errUnknownKey, Escape(key))
	case i < p.rank:
		return fmt.Errorf("header key %s: twice or out of order", key)
	}
	p.rank = i
	if !fields[i].many {
		p.rank++
	}
	if err := fields[i].set(&p.header, value); err != nil {
		return fmt.Errorf("header key %s: %w", key, err)
	}
	return p.checkPart(key)
}

// addExtra keeps a key that this version need not understand. Its value may
// have columns.
func (p *headerParser) addExtra(key, value string) error {
	for column := range strings.SplitSeq(key+"\t"+value, "\t") {
		if _, err := Unescape(column); err != nil {
			return err
		}
	}
	p.rank = len(fields)
	p.header.Extra = append(p.header.Extra, [2]string{key, value})
	return nil
}

// checkPart refuses a second part of the same name, and a name that says in
// another way that the part is the backup's own.
func (p *headerParser) checkPart(key string) error {
	if key != partKey {
		return nil
	}
	name := p.header.Parts[len(p.header.Parts)-1].Name
	if p.parts == nil {
		p.parts = partSet{}
	}
	if label, _ := SplitPart(name); label != "" && label == p.header.Label {
		return fmt.Errorf("part %s: the backup's own, without a label", name)
	}
	if p.parts[name] {
		return fmt.Errorf("part %s: twice", name)
	}
	p.parts[name] = true
	return nil
}
