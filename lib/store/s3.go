package store

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/encrypt"

	"pgpipes/lib/wait"
)

// S3 is a store in a bucket of an S3-compatible object store, below a prefix.
//
// What is put goes to the server with the condition that nothing is there
// (If-None-Match), so that nothing is ever overwritten; what does not fit into
// one request does so with the last one, which makes the object. A server that
// knows no such condition (conditional=no) is asked before, and two who put at
// once may both believe that they have.
//
// The server's acknowledgement is taken for durable. Absent is only what is not
// there while the bucket is.
type S3 struct {
	location string // without what is nobody's business
	place    s3Place
	client   func() (*minio.Core, error)
}

// s3Place is what a location says.
type s3Place struct {
	bucket, prefix string
	endpoint       *url.URL
	region         string
	lookup         minio.BucketLookupType
	ca             string // file of certificates to trust
	profile        string // of the shared credentials
	secrets        string // file of the shared credentials
	class          string
	encryption     encrypt.ServerSide
	conditional    bool
}

// newS3 reads s3://bucket/prefix?SETTING=VALUE&…
func newS3(location string) (*S3, error) {
	u, err := url.Parse(location)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: not a URL", ErrLocation, printable(location))
	}
	if u.User != nil {
		return nil, fmt.Errorf("%w: %s: a key does not belong in a location; it is found as other programs find it", ErrLocation, printable(location))
	}
	place := s3Place{bucket: u.Host, prefix: strings.Trim(path.Clean("/"+u.Path), "/"), conditional: true}
	if place.bucket == "" || u.Fragment != "" {
		return nil, fmt.Errorf("%w: %s: not s3://bucket/prefix", ErrLocation, printable(location))
	}
	if err := place.read(u.Query()); err != nil {
		return nil, fmt.Errorf("%w: %s: %v", ErrLocation, printable(location), err)
	}
	return &S3{location: location, place: place, client: sync.OnceValues(place.connect)}, nil
}

const awsEndpoint = "https://s3.amazonaws.com"

// read takes the settings of a location.
func (p *s3Place) read(settings url.Values) (err error) {
	endpoint := awsEndpoint
	for name, values := range settings {
		value := values[0]
		if len(values) > 1 || value == "" {
			return fmt.Errorf("%s: one value, please", name)
		}
		switch name {
		case "endpoint":
			endpoint = value
		case "region":
			p.region = value
		case "style":
			p.lookup, err = styleOf(value)
		case "ca":
			p.ca = value
		case "profile":
			p.profile = value
		case "credentials":
			p.secrets = value
		case "class":
			p.class = value
		case "sse":
			p.encryption, err = encryptionOf(value)
		case "conditional":
			if p.conditional = value != "no"; p.conditional && value != "yes" {
				err = errors.New("conditional is yes or no")
			}
		default:
			err = fmt.Errorf("%s is no setting (endpoint, region, style, ca, profile, credentials, class, sse, conditional)", name)
		}
		if err != nil {
			return err
		}
	}
	p.endpoint, err = url.Parse(endpoint)
	if err != nil || p.endpoint.Host == "" || p.endpoint.User != nil || p.endpoint.Scheme != "http" && p.endpoint.Scheme != "https" {
		return fmt.Errorf("the endpoint is not http(s)://host[:port]")
	}
	return nil
}

func styleOf(value string) (minio.BucketLookupType, error) {
	switch value {
	case "path":
		return minio.BucketLookupPath, nil
	case "host":
		return minio.BucketLookupDNS, nil
	}
	return 0, errors.New("style is path or host")
}

func encryptionOf(value string) (encrypt.ServerSide, error) {
	kind, key, _ := strings.Cut(value, ":")
	switch {
	case value == "AES256":
		return encrypt.NewSSE(), nil
	case kind == "aws" && strings.HasPrefix(key, "kms"):
		_, id, _ := strings.Cut(key, ":")
		return encrypt.NewSSEKMS(id, nil)
	}
	return nil, errors.New("sse is AES256, aws:kms or aws:kms:KEY")
}

// s3Retries is how often a request is tried that may succeed later. Programs
// have bounds of their own above that.
const s3Retries = 4

// connect makes the client. Nothing is sent yet.
func (p s3Place) connect() (*minio.Core, error) {
	transport, err := minio.DefaultTransport(p.endpoint.Scheme == "https")
	if err != nil {
		return nil, err
	}
	transport.MaxIdleConnsPerHost = 32
	transport.TLSHandshakeTimeout = 15 * time.Second
	if p.ca != "" {
		if transport.TLSClientConfig, err = trusting(p.ca); err != nil {
			return nil, err
		}
	}
	return minio.NewCore(p.endpoint.Host, &minio.Options{
		Creds: p.keys(), Secure: p.endpoint.Scheme == "https", Region: p.region,
		BucketLookup: p.lookup, Transport: transport, MaxRetries: s3Retries,
	})
}

func trusting(file string) (*tls.Config, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: no certificate in it", file)
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}

// keys looks for credentials where other programs do: the environment, the
// shared file, the machine's own role. One that a location names is the only one.
func (p s3Place) keys() *credentials.Credentials {
	shared := &credentials.FileAWSCredentials{Filename: p.secrets, Profile: p.profile}
	if p.secrets != "" || p.profile != "" {
		return credentials.New(shared)
	}
	return credentials.NewChainCredentials([]credentials.Provider{
		&credentials.EnvAWS{}, shared, &credentials.IAM{Client: &http.Client{Timeout: 10 * time.Second}},
	})
}

// root begins the names of all objects.
func (s *S3) root() string {
	if s.place.prefix == "" {
		return ""
	}
	return s.place.prefix + "/"
}

func (s *S3) name(key string) string { return path.Join(s.place.prefix, key) }

func (s *S3) doing(verb, key string) string {
	where, _, _ := strings.Cut(s.location, "?")
	if key == "" {
		return verb + " " + where
	}
	return verb + " " + key + " in " + where
}

// explain makes an error of the server's fit for people, and one of a context
// that has ended its cause.
func (s *S3) explain(ctx context.Context, what string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var said minio.ErrorResponse
	if errors.As(err, &said) && said.Code != "" && !strings.Contains(said.Error(), said.Code) {
		return fmt.Errorf("%s: %w (%s)", what, err, said.Code)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// absent turns "no such key" into ErrNotExist, but only while the bucket is
// there and may be looked at: an answer to a request without a body cannot tell
// the one from the other.
func (s *S3) absent(ctx context.Context, c *minio.Core, what, key string, err error) error {
	if !isStatus(err, http.StatusNotFound) {
		return s.explain(ctx, what, err)
	}
	there, berr := c.BucketExists(ctx, s.place.bucket)
	if berr == nil && !there {
		berr = fmt.Errorf("there is no bucket %s: %w", s.place.bucket, fs.ErrNotExist)
	}
	if berr != nil {
		return s.explain(ctx, what, berr)
	}
	return fmt.Errorf("%s: %w", key, ErrNotExist)
}

// isStatus reports whether the server has answered with an HTTP status.
func isStatus(err error, status int) bool {
	var said minio.ErrorResponse
	return errors.As(err, &said) && said.StatusCode == status
}

// open checks a key, which must be UTF-8 here, and makes the client.
func (s *S3) open(key string) (*minio.Core, error) {
	if err := CheckKey(key); err != nil {
		return nil, err
	}
	if !utf8.ValidString(key) {
		return nil, fmt.Errorf("%w: %q is not UTF-8", ErrKey, key)
	}
	return s.client()
}

// Stat implements Store.
func (s *S3) Stat(ctx context.Context, key string) (Info, error) {
	c, err := s.open(key)
	if err != nil {
		return Info{}, err
	}
	what := s.doing("looking for", key)
	defer wait.For(ctx, what)()
	found, err := c.StatObject(ctx, s.place.bucket, s.name(key), minio.StatObjectOptions{})
	if err != nil {
		return Info{}, s.absent(ctx, c, what, key, err)
	}
	return Info{key, found.Size, found.LastModified}, nil
}

// Remove implements Store. The server says nothing about what was not there, so
// it is asked before.
func (s *S3) Remove(ctx context.Context, key string) error {
	if _, err := s.Stat(ctx, key); err != nil {
		return err
	}
	c, err := s.client()
	if err != nil {
		return err
	}
	what := s.doing("removing", key)
	defer wait.For(ctx, what)()
	return s.explain(ctx, what, c.RemoveObject(ctx, s.place.bucket, s.name(key), minio.RemoveObjectOptions{}))
}

// listPage is how many keys the server is asked for at once.
const listPage = 1000

// List implements Store.
func (s *S3) List(ctx context.Context, prefix, after string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		listing := wait.On(ctx, s.doing("listing", prefix))
		c, err := s.client()
		if err == nil {
			err = checkPrefix(prefix)
		}
		root := s.root()
		start, token := "", ""
		if after > prefix {
			start = root + after
		}
		for err == nil {
			if err = ctx.Err(); err != nil {
				break
			}
			var page minio.ListBucketV2Result
			listing.Begin()
			page, err = c.ListObjectsV2(s.place.bucket, root+prefix, start, token, "", listPage)
			listing.End()
			if err == nil && page.Name != s.place.bucket { // from somebody who answers everything
				err = errors.New("the server's answer is no list of this bucket")
			}
			if err != nil {
				break
			}
			for _, o := range page.Contents {
				key := strings.TrimPrefix(o.Key, root)
				if key <= after || CheckKey(key) != nil { // a marker of a folder, say
					continue
				}
				if !yield(Info{key, o.Size, o.LastModified}, nil) {
					return
				}
			}
			if !page.IsTruncated {
				return
			}
			token = page.NextContinuationToken
		}
		yield(Info{}, s.explain(ctx, s.doing("listing", prefix), err))
	}
}

// checkPrefix finds a prefix whose whole components are no key.
func checkPrefix(prefix string) error {
	if top, _ := path.Split(prefix); top != "" {
		return CheckKey(strings.TrimSuffix(top, "/"))
	}
	return nil
}
