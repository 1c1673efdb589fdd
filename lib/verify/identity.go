package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"pgpipes/lib/archive"
	"pgpipes/lib/codec"
	"pgpipes/lib/layout"
	"pgpipes/lib/manifest"
	"pgpipes/lib/store"
	"pgpipes/lib/wal"
)

// checkIdentity asks others in the repository whether they are of the cluster
// that its identity names. If none of them is, that is what is wrong, and the
// rest is judged by what they say.
func (v *verifier) checkIdentity(ctx context.Context) error {
	info, err := v.Stat(ctx, layout.Identity)
	if err != nil {
		return err
	}
	if info.Size > archive.IdentityLimit {
		v.found(FoundDamaged, layout.Identity, "%d bytes are too many for it", info.Size)
	}
	keys, err := v.witnesses(ctx)
	if err != nil {
		return err
	}
	said := map[archive.Cluster]int{}
	for _, key := range keys {
		c, err := v.clusterOf(ctx, key)
		if err == nil { // what is wrong with it is found later
			said[c]++
		}
	}
	for c, times := range said {
		if len(said) == 1 && times > 1 && c != v.Cluster {
			v.found(FoundDamaged, layout.Identity, "it says %s, but all others %s", v.Cluster, c)
			v.Repo = &archive.Repo{Store: v.Store, Location: v.Location, Identity: archive.Identity{ID: v.ID, Cluster: c}}
		}
	}
	return nil
}

// witnesses are the first two stored segments and the newest backup.
func (v *verifier) witnesses(ctx context.Context) (keys []string, err error) {
	for info, err := range v.List(ctx, layout.WAL, "") {
		if err != nil {
			return nil, err
		}
		if n, _, ok := layout.ParseWALKey(info.Key); ok && n.Kind == wal.Segment {
			if keys = append(keys, info.Key); len(keys) == 2 {
				break
			}
		}
	}
	newest := ""
	for info, err := range v.List(ctx, layout.Base, "") {
		if err != nil {
			return nil, err
		}
		if strings.HasSuffix(info.Key, "/"+layout.Manifest) {
			newest = info.Key
		}
	}
	if newest != "" {
		keys = append(keys, newest)
	}
	return keys, nil
}

// clusterOf is what a segment or a manifest says it is of.
func (v *verifier) clusterOf(ctx context.Context, key string) (archive.Cluster, error) {
	body, err := v.Get(ctx, key, 0, -1)
	if err != nil {
		return archive.Cluster{}, err
	}
	defer body.Close()
	if strings.HasPrefix(key, layout.Base) {
		m, err := manifest.NewReader(body)
		if err != nil {
			return archive.Cluster{}, err
		}
		h := m.Header()
		return archive.Cluster{SystemID: h.SystemID, Major: h.Major, SegmentSize: h.SegmentSize}, nil
	}
	_, format := codec.SplitName(key)
	z, err := codec.NewReaderFormat(body, format, 1)
	if err != nil {
		return archive.Cluster{}, err
	}
	defer z.Close()
	head := make([]byte, wal.HeaderSize)
	if _, err := io.ReadFull(z, head); err != nil {
		return archive.Cluster{}, err
	}
	h, err := wal.ParseHeader(head)
	return archive.Cluster{SystemID: h.SystemID, Major: h.Major(), SegmentSize: h.SegmentSize}, err
}

// WhyClosed finds the reason in the repository for an error of Open: an identity
// that is damaged, or is missing although the rest is there. Every other error is
// no finding.
func WhyClosed(ctx context.Context, location string, err error) (f Finding, found bool) {
	switch {
	case errors.Is(err, archive.ErrDamaged):
		return Finding{FoundDamaged, layout.Identity, "it cannot be read, and without it nothing else can be verified"}, true
	case !errors.Is(err, archive.ErrNoRepository):
		return Finding{}, false
	}
	s, err := store.Open(location)
	if err != nil {
		return Finding{}, false
	}
	defer (&archive.Repo{Store: s}).Close()
	for _, prefix := range []string{layout.WAL, layout.Base} {
		for info, err := range s.List(ctx, prefix, "") {
			if err != nil {
				return Finding{}, false
			}
			return Finding{FoundMissing, layout.Identity, fmt.Sprintf("%s is there, but without it nothing can be verified", info.Key)}, true
		}
	}
	return Finding{}, false
}
