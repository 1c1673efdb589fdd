package main

import (
	"path/filepath"
	"strconv"
	"strings"

	"pgpipes/lib/cli"
)

// places are where tablespaces go, by OID or by where they were.
type places struct {
	byOID  map[uint32]string
	byPath map[string]string
}

// readPlaces reads OID=DIR and OLDDIR=DIR.
func readPlaces(list []string) (places, error) {
	p := places{map[uint32]string{}, map[string]string{}}
	for _, text := range list {
		if err := p.read(text); err != nil {
			return p, err
		}
	}
	return p, nil
}

func (p places) read(text string) error {
	which, dir, found := cutPlace(text)
	if filepath.IsAbs(which) && found && dir != "" {
		return put(p.byPath, filepath.Clean(which), dir, text)
	}
	oid, err := strconv.ParseUint(which, 10, 32)
	if !found || err != nil || oid == 0 || dir == "" {
		return cli.Usagef("--tablespace %s: not OID=DIR or OLDDIR=DIR", text)
	}
	return put(p.byOID, uint32(oid), dir, text)
}

func put[K comparable](all map[K]string, key K, dir, text string) error {
	if _, twice := all[key]; twice {
		return cli.Usagef("--tablespace %s: %v is given twice", text, key)
	}
	all[key] = dir
	return nil
}

// cutPlace divides at the first = that has no backslash before it, which is for
// paths with = in them.
func cutPlace(text string) (which, dir string, found bool) {
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\\' && i+1 < len(text) && text[i+1] == '=':
			i++
		case text[i] == '=':
			return unescape(text[:i]), unescape(text[i+1:]), true
		}
	}
	return text, "", false
}

func unescape(path string) string { return strings.ReplaceAll(path, `\=`, "=") }
