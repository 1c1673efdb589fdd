package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"pgpipes/lib/durable"
	"pgpipes/lib/wait"
)

// Sweep has the server forget the uploads that were begun before a time and never
// became objects. One of which a part has come since is at work.
func (s *S3) Sweep(ctx context.Context, before time.Time) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	what := s.doing("sweeping", "")
	defer wait.For(wait.WithWatch(ctx, nil), what)()
	ctx, cancel := context.WithCancel(ctx) // ends the listing
	defer cancel()
	for u := range c.ListIncompleteUploads(ctx, s.place.bucket, s.root(), true) {
		err := u.Err
		if err == nil && !strings.HasPrefix(u.Key, s.root()) {
			err = fmt.Errorf("the server lists %q, which it was not asked for", u.Key)
		}
		if err == nil && u.Initiated.Before(before) {
			err = s.forget(ctx, c, u, before)
		}
		if err != nil && !isStatus(err, http.StatusNotFound) {
			return s.explain(ctx, what, err)
		}
	}
	return nil
}

// forget aborts an upload, unless a part of it has come since a time.
func (s *S3) forget(ctx context.Context, c *s3Client, u minio.ObjectMultipartInfo, before time.Time) error {
	for marker, more := 0, true; more; {
		page, err := c.ListObjectParts(ctx, s.place.bucket, u.Key, u.UploadID, marker, listPage)
		if err != nil {
			return err
		}
		for _, part := range page.ObjectParts {
			if !part.LastModified.Before(before) {
				return nil
			}
		}
		more = page.IsTruncated && page.NextPartNumberMarker > marker
		marker = page.NextPartNumberMarker
	}
	return c.AbortMultipartUpload(ctx, s.place.bucket, u.Key, u.UploadID)
}

// ErrOverwrites says that a server does not keep the promise that nothing is
// overwritten.
var ErrOverwrites = errors.New("the server overwrites what is there though it is told not to")

// Probe tries whether the server keeps it. It leaves nothing behind unless nothing
// may be removed.
func (s *S3) Probe(ctx context.Context) error {
	c, err := s.client()
	if err != nil || !s.place.conditional {
		return err
	}
	what, name := s.doing("trying", ""), s.name(durable.TemporaryPrefix+rand.Text()+".tmp")
	defer wait.For(ctx, what)()
	defer c.RemoveObject(context.WithoutCancel(ctx), s.place.bucket, name, minio.RemoveObjectOptions{})
	for _, contents := range []string{"one", "two"} {
		o := minio.PutObjectOptions{}
		o.SetMatchETagExcept("*")
		_, err = c.PutObject(ctx, s.place.bucket, name, bytes.NewReader([]byte(contents)), int64(len(contents)), "", "", o)
		if isStatus(err, http.StatusNotImplemented) { // one that says so
			return fmt.Errorf("%s: %w", what, ErrOverwrites)
		}
		if contents == "one" && err != nil {
			return s.explain(ctx, what, err)
		}
	}
	switch {
	case err == nil:
		return fmt.Errorf("%s: %w", what, ErrOverwrites)
	case isStatus(err, http.StatusPreconditionFailed):
		return nil
	}
	return s.explain(ctx, what, err)
}
