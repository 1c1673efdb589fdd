package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/minio/minio-go/v7"

	"pgpipes/lib/wait"
)

// s3Resumes is how often the reading of an object is taken up again where the
// connection was lost.
const s3Resumes = 5

// Get implements Store. When the connection is lost the rest is asked for again,
// of the same object.
func (s *S3) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	c, err := s.open(key)
	if err != nil {
		return nil, err
	}
	d := &s3Download{store: s, client: c, ctx: ctx, key: key, next: offset, Operation: wait.On(ctx, s.doing("reading", key))}
	d.Begin()
	defer d.End()
	if length == 0 { // no range says that
		if _, err := s.Stat(ctx, key); err != nil {
			return nil, err
		}
		return io.NopCloser(http.NoBody), nil
	}
	if length > 0 {
		d.end = offset + length
	}
	if err := d.open(); err != nil {
		if isStatus(err, http.StatusRequestedRangeNotSatisfiable) { // nothing is there
			return io.NopCloser(http.NoBody), nil
		}
		return nil, s.absent(ctx, c, s.doing("reading", key), key, err)
	}
	return d, nil
}

// An s3Download is an object being read.
type s3Download struct {
	store     *S3
	client    *minio.Core
	ctx       context.Context
	key       string
	next, end int64 // bytes still wanted; to the end of the object if end is 0
	etag      string
	body      io.ReadCloser
	resumed   int
	*wait.Operation
}

// open asks for what is still wanted, of the object that was begun with.
func (d *s3Download) open() error {
	var o minio.GetObjectOptions
	if d.etag != "" {
		if err := o.SetMatchETag(d.etag); err != nil {
			return err
		}
	}
	if d.next > 0 || d.end > 0 {
		if err := setRange(&o, d.next, d.end); err != nil {
			return err
		}
	}
	body, info, header, err := d.client.GetObject(d.ctx, d.store.place.bucket, d.store.name(d.key), o)
	if err != nil {
		return err
	}
	if d.next > 0 && !strings.HasPrefix(header.Get("Content-Range"), fmt.Sprintf("bytes %d-", d.next)) {
		body.Close()
		return errors.New("the server knows no ranges")
	}
	d.body = body
	if d.etag == "" { // the size that comes with a range is that of the range
		d.etag, d.end = info.ETag, d.next+info.Size
	}
	return nil
}

// setRange asks for bytes from next on; up to end unless that is 0.
func setRange(o *minio.GetObjectOptions, next, end int64) error {
	if end == 0 {
		return o.SetRange(next, 0)
	}
	return o.SetRange(next, end-1)
}

// Read implements io.Reader. What ends before all bytes have come was cut.
func (d *s3Download) Read(p []byte) (int, error) {
	if d.next >= d.end {
		return 0, io.EOF
	}
	d.Begin()
	defer d.End()
	for {
		n, err := d.body.Read(p[:min(int64(len(p)), d.end-d.next)])
		d.next += int64(n)
		if n > 0 || err == nil {
			return n, nil
		}
		if d.ctx.Err() != nil {
			return 0, context.Cause(d.ctx)
		}
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if d.resumed++; d.resumed > s3Resumes {
			return 0, d.store.explain(d.ctx, d.store.doing("reading", d.key), err)
		}
		d.body.Close()
		if oerr := d.open(); oerr != nil {
			return 0, d.store.explain(d.ctx, d.store.doing("reading", d.key), errors.Join(err, oerr))
		}
	}
}

// Close ends the reading, wherever it is.
func (d *s3Download) Close() error {
	d.Begin()
	defer d.End()
	return d.body.Close()
}
