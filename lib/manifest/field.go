package manifest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"pgpipes/lib/wal"
)

// field is a key of the header: how its values are found in a Header and how
// they get there. A value is the rest of the line.
type field struct {
	key    string
	many   bool // may come more than once
	values func(h *Header) []string
	set    func(h *Header, value string) error
}

const partKey = "part"

// fields are in the order of the lines.
var fields = []field{
	textField("label", func(h *Header) *string { return &h.Label }),
	textField("type", func(h *Header) *string { return &h.Type }),
	parentField(),
	numberField("system-identifier", func(h *Header) *uint64 { return &h.SystemID }),
	numberField("postgresql", func(h *Header) *int { return &h.Major }),
	numberField("catalog", func(h *Header) *uint32 { return &h.Catalog }),
	segmentSizeField(),
	numberField("block-size", func(h *Header) *int { return &h.BlockSize }),
	checksumsField(),
	numberField("start-timeline", func(h *Header) *wal.Timeline { return &h.StartTimeline }),
	lsnField("start-lsn", func(h *Header) *wal.LSN { return &h.StartLSN }),
	timeField("start-time", func(h *Header) *time.Time { return &h.StartTime }),
	numberField("stop-timeline", func(h *Header) *wal.Timeline { return &h.StopTimeline }),
	lsnField("stop-lsn", func(h *Header) *wal.LSN { return &h.StopLSN }),
	timeField("stop-time", func(h *Header) *time.Time { return &h.StopTime }),
	textField("from", func(h *Header) *string { return &h.From }),
	tagField(),
	walField(),
	countField("files", func(h *Header) *int64 { return &h.Files }),
	countField("bytes", func(h *Header) *int64 { return &h.Bytes }),
	tablespaceField(),
	badPageField(),
	partField(),
}

func fieldIndex(key string) int {
	return slices.IndexFunc(fields, func(f field) bool { return f.key == key })
}

type integer interface {
	~int | ~int64 | ~uint32 | ~uint64
}

func parseNumber[T integer](s string) (T, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if t := T(n); err == nil && t >= 0 && uint64(t) == n {
		return t, nil
	}
	return 0, fmt.Errorf("%q is not a number in range", s)
}

// single is a field that has one value or, if it is empty, none.
func single(key string, get func(h *Header) string, set func(h *Header, value string) error) field {
	return field{key: key, set: set, values: func(h *Header) []string {
		if s := get(h); s != "" {
			return []string{s}
		}
		return nil
	}}
}

func textField(key string, at func(*Header) *string) field {
	return single(key,
		func(h *Header) string { return Escape(*at(h)) },
		func(h *Header, value string) (err error) {
			*at(h), err = Unescape(value)
			return err
		})
}

func tagField() field {
	return field{key: "tag", many: true,
		values: func(h *Header) []string { return h.Tags },
		set: func(h *Header, value string) error {
			if !ValidTag(value) {
				return fmt.Errorf("%s is not a tag", Escape(value))
			}
			h.Tags = append(h.Tags, value)
			return nil
		}}
}

// ValidTag holds for texts of the form of labels.
func ValidTag(s string) bool { return ValidLabel(s) }

func parentField() field {
	return single("parent",
		func(h *Header) string { return h.Parent },
		func(h *Header, value string) error {
			if h.Parent = value; !ValidLabel(value) {
				return fmt.Errorf("%s is not a label", Escape(value))
			}
			return nil
		})
}

// countField is written even if it is 0.
func countField[T integer](key string, at func(*Header) *T) field {
	return single(key,
		func(h *Header) string { return fmt.Sprintf("%d", *at(h)) },
		func(h *Header, value string) (err error) {
			*at(h), err = parseNumber[T](value)
			return err
		})
}

func numberField[T integer](key string, at func(*Header) *T) field {
	f := countField(key, at)
	written := f.values
	f.values = func(h *Header) []string {
		if *at(h) == 0 {
			return nil
		}
		return written(h)
	}
	return f
}

func segmentSizeField() field {
	f := numberField("wal-segment-size", func(h *Header) *wal.SegmentSize { return &h.SegmentSize })
	set := f.set
	f.set = func(h *Header, value string) error {
		if err := set(h, value); err != nil {
			return err
		}
		if !h.SegmentSize.Valid() {
			return fmt.Errorf("%s is not a size of WAL segments", value)
		}
		return nil
	}
	return f
}

func checksumsField() field {
	words := map[bool]string{true: "on", false: "off"}
	return single("checksums",
		func(h *Header) string { return words[h.Checksums] },
		func(h *Header, value string) error {
			h.Checksums = value == words[true]
			return nil
		})
}

func walField() field {
	words := map[bool]string{true: "included"}
	return single("wal",
		func(h *Header) string { return words[h.WAL] },
		func(h *Header, value string) error {
			h.WAL = value == words[true]
			return nil
		})
}

func lsnField(key string, at func(*Header) *wal.LSN) field {
	return single(key,
		func(h *Header) string {
			if *at(h) == 0 {
				return ""
			}
			return at(h).String()
		},
		func(h *Header, value string) (err error) {
			*at(h), err = wal.ParseLSN(value)
			return err
		})
}

func timeField(key string, at func(*Header) *time.Time) field {
	return single(key,
		func(h *Header) string { return known(string(appendTime(nil, *at(h)))) },
		func(h *Header, value string) (err error) {
			*at(h), err = parseTime(value)
			return err
		})
}

func tablespaceField() field {
	return field{key: "tablespace", many: true,
		values: func(h *Header) (lines []string) {
			for _, t := range h.Tablespaces {
				lines = append(lines, fmt.Sprintf("%d\t%s", t.OID, Escape(t.Path)))
			}
			return lines
		},
		set: func(h *Header, value string) error {
			oid, name, err := parseNumberAndText(value)
			h.Tablespaces = append(h.Tablespaces, Tablespace{OID: oid, Path: name})
			return err
		}}
}

func parseNumberAndText(value string) (uint32, string, error) {
	number, text, _ := strings.Cut(value, "\t")
	n, err := parseNumber[uint32](number)
	if err != nil {
		return 0, "", err
	}
	raw, err := Unescape(text)
	if err == nil && (raw == "" || strings.IndexByte(raw, 0) >= 0) {
		err = fmt.Errorf("%q is not a path", raw)
	}
	return n, raw, err
}

func partField() field {
	return field{key: partKey, many: true,
		values: func(h *Header) (lines []string) {
			for _, p := range h.Parts {
				sum, key := appendText(nil, p.SHA256), appendText(nil, p.Key)
				lines = append(lines, fmt.Sprintf("%s\t%s\t%d\t%s", Escape(p.Name), sum, p.Size, key))
			}
			return lines
		},
		set: func(h *Header, value string) error {
			p, err := parsePart(value)
			h.Parts = append(h.Parts, p)
			return err
		}}
}

// parsePart reads NAME SHA256 SIZE KEY.
func parsePart(value string) (Part, error) {
	c := strings.Split(value, "\t")
	if len(c) != 4 {
		return Part{}, fmt.Errorf("%d columns", len(c))
	}
	p := Part{Name: c[0], SHA256: known(c[1])}
	if !ValidPart(p.Name) || p.SHA256 != "" && !validSHA256(p.SHA256) {
		return Part{}, fmt.Errorf("part %s, sha256 %s", Escape(c[0]), Escape(c[1]))
	}
	size, err := parseNumber[int64](c[2])
	if err != nil {
		return Part{}, err
	}
	p.Size = size
	p.Key, err = Unescape(known(c[3]))
	return p, err
}
