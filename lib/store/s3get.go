package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

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
	what := s.doing("reading", key)
	d := &s3Download{store: s, client: c, ctx: ctx, key: key, next: offset, Operation: wait.On(ctx, what)}
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
		if _, aerr := s.absent(ctx, what, key, err); aerr != nil {
			return nil, aerr
		}
		return nil, s.explain(ctx, what, fmt.Errorf("%w, but it is listed", err))
	}
	return d, nil
}

// An s3Download is an object being read.
type s3Download struct {
	store     *S3
	client    *s3Client
	ctx       context.Context
	key       string
	next, end int64 // bytes still wanted; to the end of the object if end is 0
	etag      string
	body      io.ReadCloser // nil before the first
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
	end, err := d.promised(header.Get("Content-Range"), info.Size)
	if err == nil && d.body != nil && (end != d.end || info.ETag != d.etag || d.etag == "") {
		err = errors.New("it is not the same object any more")
	}
	if err != nil {
		body.Close()
		return err
	}
	d.body, d.end, d.etag = body, end, info.ETag
	return nil
}

// promised is where the bytes end that an answer promises. What is cut must be
// seen, so an answer has to say so beforehand; and it has to be all that is
// there of what was asked for.
func (d *s3Download) promised(contentRange string, size int64) (end int64, err error) {
	if size < 0 {
		return 0, errors.New("the server does not say how long it is")
	}
	if d.next == 0 && d.end == 0 {
		return size, nil
	}
	var first, last, total int64
	if _, err := fmt.Sscanf(contentRange, "bytes %d-%d/%d", &first, &last, &total); err != nil {
		if d.next > 0 || size > d.end {
			return 0, errors.New("the server knows no ranges")
		}
		return size, nil // the whole object is not longer
	}
	end = total
	if d.end > 0 {
		end = min(end, d.end)
	}
	if first != d.next || last+1 != end || size != end-first {
		return 0, fmt.Errorf("the server sends other bytes than it was asked for: %s, and %d of them", contentRange, size)
	}
	return end, nil
}

// setRange asks for bytes from next on; up to end unless that is 0.
func setRange(o *minio.GetObjectOptions, next, end int64) error {
	if end == 0 {
		return o.SetRange(next, 0)
	}
	return o.SetRange(next, end-1)
}

// Read implements io.Reader. What ends before all bytes have come was cut. It
// fills p: a server that sends byte after byte, always in time, would hold up
// its reader for ever.
func (d *s3Download) Read(p []byte) (n int, err error) {
	p = p[:max(0, min(int64(len(p)), d.end-d.next))]
	if d.next >= d.end {
		return 0, io.EOF
	}
	d.Begin()
	defer d.End()
	for n < len(p) && err == nil {
		var got int
		got, err = d.body.Read(p[n:])
		n += got
		d.next += int64(got)
		if err != nil && n < len(p) {
			err = d.resume(err)
		}
	}
	if n == len(p) {
		err = nil
	}
	return n, err
}

// resume goes on after the connection was lost, or says why it cannot.
func (d *s3Download) resume(lost error) error {
	if d.ctx.Err() != nil {
		return context.Cause(d.ctx)
	}
	if lost == io.EOF {
		lost = io.ErrUnexpectedEOF
	}
	what := d.store.doing("reading", d.key)
	if d.resumed++; d.resumed > s3Resumes {
		return d.store.explain(d.ctx, what, lost)
	}
	d.body.Close()
	if err := d.open(); err != nil {
		return d.store.explain(d.ctx, what, errors.Join(lost, err))
	}
	return nil
}

// Close ends the reading, wherever it is.
func (d *s3Download) Close() error {
	d.Begin()
	defer d.End()
	return d.body.Close()
}
