package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/minio/minio-go/v7"

	"pgpipes/lib/wait"
)

const (
	// s3PartSize is how much is gathered before it is sent: a WAL segment
	// mostly goes in one request.
	s3PartSize = 16 << 20
	// s3Growth keeps the largest object, of 5 TiB, within the 10,000 parts that
	// it may have: parts grow to this share of what is already sent. Those of
	// what is less than 24 GiB do not.
	s3Growth = 1536
)

// Put implements Store. Memory is that of two parts: one is sent while the next
// is filled.
func (s *S3) Put(ctx context.Context, key string, write func(io.Writer) error) (Receipt, error) {
	c, err := s.open(key)
	if err != nil {
		return Receipt{}, err
	}
	u := &s3Upload{store: s, client: c, ctx: ctx, key: key, Operation: wait.On(ctx, s.doing("storing", key))}
	defer u.giveUp()
	sum := newSummer(u)
	if err := write(sum); err != nil {
		return Receipt{}, err
	}
	if ctx.Err() != nil {
		return Receipt{}, context.Cause(ctx)
	}
	receipt := sum.receipt(key)
	err = u.publish()
	if errors.Is(err, errTaken) {
		return receipt, s.settle(ctx, receipt, err)
	}
	return receipt, err
}

// errTaken says that there seems to be an object of the name.
var errTaken = errors.New("the name is refused")

// settle succeeds when the object that is there already has the bytes that were
// offered. If they cannot be compared, it matters why the name was refused.
func (s *S3) settle(ctx context.Context, offered Receipt, refused error) error {
	err := compare(ctx, s, offered)
	if err == nil || errors.Is(err, ErrDiffers) {
		return err
	}
	return s.explain(ctx, s.doing("storing", offered.Key), fmt.Errorf("%w: %w", refused, err))
}

// An s3Upload is an object in the making.
type s3Upload struct {
	store  *S3
	client *s3Client
	ctx    context.Context
	key    string
	part   bytes.Buffer // being filled
	spare  bytes.Buffer // being sent, or empty
	sent   int64        // bytes, in parts
	id     string       // of the upload in parts, "" as long as there is none
	parts  []minio.CompletePart
	busy   chan error // tells of the part that is being sent; nil if none is
	*wait.Operation
}

func (u *s3Upload) partSize() int { return int(max(s3PartSize, u.sent/s3Growth)) }

// Write implements io.Writer.
func (u *s3Upload) Write(p []byte) (n int, err error) {
	u.Begin()
	defer u.End()
	for len(p) > 0 {
		room := u.partSize() - u.part.Len()
		if room <= 0 { // and there is more to come
			if err := u.send(); err != nil {
				return n, u.explain(err)
			}
			continue
		}
		piece := p[:min(room, len(p))]
		u.part.Write(piece)
		n, p = n+len(piece), p[len(piece):]
	}
	return n, nil
}

func (u *s3Upload) explain(err error) error {
	return u.store.explain(u.ctx, u.store.doing("storing", u.key), err)
}

// send begins to send the part that is full, when the one before has arrived.
func (u *s3Upload) send() (err error) {
	if err := u.arrived(); err != nil {
		return err
	}
	if u.id == "" {
		u.id, err = u.client.NewMultipartUpload(u.ctx, u.store.place.bucket, u.store.name(u.key), u.options())
		if err == nil && u.id == "" {
			err = errNotStored
		}
		if err != nil {
			return err
		}
	}
	u.part, u.spare = u.spare, u.part
	u.sent += int64(u.spare.Len())
	number, done := len(u.parts)+1, make(chan error, 1)
	u.parts = append(u.parts, minio.CompletePart{PartNumber: number})
	u.busy = done
	go func() { done <- u.sendPart(number) }()
	return nil
}

func (u *s3Upload) sendPart(number int) error {
	body := u.spare.Bytes()
	sum := sha256.Sum256(body)
	stored, err := u.client.PutObjectPart(u.ctx, u.store.place.bucket, u.store.name(u.key), u.id, number,
		bytes.NewReader(body), int64(len(body)), minio.PutObjectPartOptions{Sha256Hex: hex.EncodeToString(sum[:])})
	if err == nil && stored.ETag == "" {
		err = errNotStored
	}
	u.parts[number-1].ETag = stored.ETag
	return err
}

// errNotStored says that somebody has said yes who stores nothing: what a server
// has stored it gives a tag.
var errNotStored = errors.New("the server's answer does not say that it has stored anything")

// arrived waits for the part that is being sent.
func (u *s3Upload) arrived() error {
	if u.busy == nil {
		return nil
	}
	err := <-u.busy
	u.busy = nil
	u.spare.Reset()
	return err
}

// options are those of the object. Nothing may be there yet.
func (u *s3Upload) options() minio.PutObjectOptions {
	return minio.PutObjectOptions{
		ContentType: "application/octet-stream", StorageClass: u.store.place.class, ServerSideEncryption: u.store.place.encryption,
	}
}

// publish makes the object. The error is errTaken if there is one.
func (u *s3Upload) publish() (err error) {
	u.Begin()
	defer u.End()
	o := u.options()
	if u.store.place.conditional {
		o.SetMatchETagExcept("*")
	} else if _, err := u.store.Stat(u.ctx, u.key); !errors.Is(err, ErrNotExist) {
		if err == nil {
			err = errTaken
		}
		return err
	}
	if len(u.parts) == 0 {
		err = wait.Retry(u.ctx, conflictPatience, u.metNobody, func() error { return u.whole(o) })
	} else {
		err = u.complete(o)
	}
	// A server that finds somebody else at the same name says 409. One that knows
	// no such upload may have made the object of it, and its answer was lost.
	if isStatus(err, http.StatusPreconditionFailed) || isStatus(err, http.StatusConflict) ||
		len(u.parts) > 0 && isStatus(err, http.StatusNotFound) {
		return fmt.Errorf("%w: %w", errTaken, err)
	}
	return u.explain(err)
}

// conflictPatience is how long what is refused because of nothing is tried again.
const conflictPatience = 2 * time.Second

// metNobody reports whether a put was refused for a conflict, and nothing is there:
// somebody has just removed something, or what met it has failed.
func (u *s3Upload) metNobody(err error) bool {
	if !isStatus(err, http.StatusConflict) {
		return false
	}
	_, err = u.store.Stat(u.ctx, u.key)
	return errors.Is(err, ErrNotExist)
}

// whole sends all in one request.
func (u *s3Upload) whole(o minio.PutObjectOptions) error {
	sum := sha256.Sum256(u.part.Bytes())
	stored, err := u.client.PutObject(u.ctx, u.store.place.bucket, u.store.name(u.key),
		bytes.NewReader(u.part.Bytes()), int64(u.part.Len()), "", hex.EncodeToString(sum[:]), o)
	if err == nil && stored.ETag == "" {
		err = errNotStored
	}
	return err
}

// complete sends the last part and has the server join them. The condition
// counts at this request.
func (u *s3Upload) complete(o minio.PutObjectOptions) error {
	if err := u.send(); err != nil {
		return err
	}
	if err := u.arrived(); err != nil {
		return err
	}
	_, err := u.client.CompleteMultipartUpload(u.ctx, u.store.place.bucket, u.store.name(u.key), u.id, u.parts, o)
	if err == nil {
		u.id = ""
	}
	return err
}

// abortPatience is how long the server may take to forget an upload.
const abortPatience = 10 * time.Second

// giveUp removes what was sent and has not become an object.
func (u *s3Upload) giveUp() {
	u.Begin()
	defer u.End()
	_ = u.arrived()
	if u.id == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(u.ctx), abortPatience)
	defer cancel()
	_ = u.client.AbortMultipartUpload(ctx, u.store.place.bucket, u.store.name(u.key), u.id)
}
