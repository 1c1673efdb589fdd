package manifest

import (
	"fmt"
	"strconv"
	"strings"
)

// BadPage is a page whose checksum was wrong when it was copied, at the first
// reading and still at the last.
type BadPage struct {
	Block uint32  `json:"block"` // number of the page, counted in the relation and not in the file
	First PageSum `json:"first"`
	Last  PageSum `json:"last"`
	Path  string  `json:"path"`
}

// MostBadPages is how many bad pages a manifest names at most: it must not grow
// with their number.
const MostBadPages = 1000

// PageSum are two checksums of a page that has been read once: the one that it
// holds and the one that its contents give.
type PageSum struct{ Stored, Computed uint16 }

// String is STORED/COMPUTED, each in four hex digits.
func (s PageSum) String() string { return fmt.Sprintf("%04x/%04x", s.Stored, s.Computed) }

// MarshalText gives the same text.
func (s PageSum) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

func parsePageSum(s string) (PageSum, error) {
	stored, computed, _ := strings.Cut(s, "/")
	a, err1 := strconv.ParseUint(stored, 16, 16)
	b, err2 := strconv.ParseUint(computed, 16, 16)
	if err1 != nil || err2 != nil {
		return PageSum{}, fmt.Errorf("%q are not two checksums of a page", s)
	}
	return PageSum{uint16(a), uint16(b)}, nil
}

func badPageField() field {
	return field{key: "bad-page", many: true,
		values: func(h *Header) (lines []string) {
			for _, p := range h.BadPages {
				lines = append(lines, fmt.Sprintf("%d\t%s\t%s\t%s", p.Block, p.First, p.Last, Escape(p.Path)))
			}
			return lines
		},
		set: func(h *Header, value string) error {
			p, err := parseBadPage(value)
			h.BadPages = append(h.BadPages, p)
			return err
		}}
}

// parseBadPage reads BLOCK FIRST LAST PATH.
func parseBadPage(value string) (BadPage, error) {
	c := strings.Split(value, "\t")
	if len(c) != 4 {
		return BadPage{}, fmt.Errorf("%d columns", len(c))
	}
	block, name, err := parseNumberAndText(c[0] + "\t" + c[3])
	if err != nil {
		return BadPage{}, err
	}
	first, err := parsePageSum(c[1])
	if err != nil {
		return BadPage{}, err
	}
	last, err := parsePageSum(c[2])
	return BadPage{block, first, last, name}, err
}
