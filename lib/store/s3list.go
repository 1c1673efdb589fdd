package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"pgpipes/lib/wait"
)

// List implements Store. What a server lists without being asked for it, or out
// of order, is an error: somebody else may be answering, and what should have
// been listed may be missing as well.
func (s *S3) List(ctx context.Context, prefix, after string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		what := s.doing("listing", prefix)
		listing := wait.On(ctx, what)
		listing.Begin()
		defer listing.End()
		l, err := s.listing(ctx, prefix, after)
		for more := true; more && err == nil; {
			var found []Info
			if found, more, err = l.next(); len(found) == 0 {
				continue // and wait on: pages of nothing might come for ever
			}
			listing.End()
			for _, info := range found {
				if !yield(info, nil) {
					return
				}
			}
			listing.Begin()
		}
		if err != nil {
			yield(Info{}, s.explain(ctx, what, err))
		}
	}
}

// An s3Listing is a list that is being read, page by page.
type s3Listing struct {
	store         *S3
	client        *minio.Core
	prefix, after string // of keys
	token         string // where the next page begins
	last          string // name that was listed
}

func (s *S3) listing(ctx context.Context, prefix, after string) (*s3Listing, error) {
	if err := checkPrefix(prefix); err != nil {
		return nil, err
	}
	c, err := s.client()
	if err != nil {
		return nil, err
	}
	o := c.options
	o.Transport = within{o.Transport, ctx}
	if o.Region, err = c.GetBucketLocation(ctx, s.place.bucket); err != nil { // which it knows, if it was ever asked
		return nil, err
	}
	core, err := minio.NewCore(s.place.endpoint.Host, &o)
	return &s3Listing{store: s, client: core, prefix: prefix, after: after}, err
}

// listPage is how many keys the server is asked for at once.
const listPage = 1000

// next reads the next page, and reports whether more follow it.
func (l *s3Listing) next() (found []Info, more bool, err error) {
	root, start := l.store.root(), ""
	if l.after > l.prefix {
		start = root + l.after
	}
	page, err := l.client.ListObjectsV2(l.store.place.bucket, root+l.prefix, start, l.token, "", listPage)
	if err != nil {
		return nil, false, err
	}
	if page.Name != l.store.place.bucket { // from somebody who answers everything
		return nil, false, errors.New("the server's answer is no list of this bucket")
	}
	for _, o := range page.Contents {
		if !strings.HasPrefix(o.Key, root+l.prefix) || o.Key <= l.last {
			return nil, false, fmt.Errorf("the server's list has %q in it, which does not belong there, behind %q", o.Key, l.last)
		}
		l.last = o.Key
		key := strings.TrimPrefix(o.Key, root)
		if key > l.after && CheckKey(key) == nil { // no marker of a folder, say
			found = append(found, Info{key, o.Size, o.LastModified.Truncate(time.Second)}) // all that Stat is told
		}
	}
	if page.IsTruncated && page.NextContinuationToken == l.token {
		return nil, false, errors.New("the server's list does not end: it goes on where it has begun")
	}
	l.token = page.NextContinuationToken
	return found, page.IsTruncated, nil
}

// checkPrefix finds a prefix whose whole components are no key.
func checkPrefix(prefix string) error {
	if top, _ := path.Split(prefix); top != "" {
		return CheckKey(strings.TrimSuffix(top, "/"))
	}
	return nil
}

// within is a transport for calls of the library that take no context: it has
// them end with one. Answers are cut where no page of a list is as long.
type within struct {
	http.RoundTripper
	ctx context.Context
}

const longestPage = 16 << 20 // bytes

// RoundTrip implements http.RoundTripper.
func (w within) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := w.RoundTripper.RoundTrip(r.WithContext(w.ctx))
	if err != nil {
		return nil, err
	}
	answer.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(answer.Body, longestPage), answer.Body}
	return answer, nil
}
