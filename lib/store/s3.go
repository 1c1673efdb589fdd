package store

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
	"sync"
	"sync/atomic"
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
// The server's acknowledgement is taken for durable. Absent is only what is
// neither found nor listed: an answer without a body cannot tell an object that
// is not there from a bucket that is not, or from a stranger who knows nothing.
type S3 struct {
	location string // without what is nobody's business
	place    s3Place
	client   func() (*s3Client, error)
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
	if err != nil || !isEndpoint(p.endpoint) {
		return fmt.Errorf("the endpoint is not http(s)://host[:port]")
	}
	return nil
}

// isEndpoint reports whether a URL names a server and nothing on it: nobody would
// look at what else there is.
func isEndpoint(u *url.URL) bool {
	web := u.Scheme == "http" || u.Scheme == "https"
	return web && u.Host != "" && strings.Trim(u.Path, "/") == "" && u.User == nil && u.RawQuery == "" && u.Fragment == ""
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

// An s3Client is a client, with what it was made of.
type s3Client struct {
	*minio.Core
	options minio.Options
	keys    *s3Keys
}

// connect makes the client. Nothing is sent yet.
func (p s3Place) connect() (*s3Client, error) {
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
	keys := &s3Keys{Provider: p.provider()}
	o := minio.Options{
		Creds: credentials.New(keys), Secure: p.endpoint.Scheme == "https", Region: p.region,
		BucketLookup: p.lookup, Transport: transport, MaxRetries: s3Retries,
	}
	c, err := minio.NewCore(p.endpoint.Host, &o)
	return &s3Client{c, o, keys}, err
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

// provider looks for credentials where other programs do: the environment, the
// shared file, the machine's own role. One that a location names is the only one.
func (p s3Place) provider() credentials.Provider {
	shared := &credentials.FileAWSCredentials{Filename: p.secrets, Profile: p.profile}
	if p.secrets != "" || p.profile != "" {
		return shared
	}
	return &credentials.Chain{Providers: []credentials.Provider{
		&credentials.EnvAWS{}, shared, &credentials.IAM{Client: &http.Client{Timeout: 10 * time.Second}},
	}}
}

// s3Keys remembers what was found last.
type s3Keys struct {
	credentials.Provider
	last atomic.Pointer[credentials.Value]
}

// RetrieveWithCredContext implements credentials.Provider.
func (k *s3Keys) RetrieveWithCredContext(c *credentials.CredContext) (credentials.Value, error) {
	found, err := k.Provider.RetrieveWithCredContext(c)
	if err == nil {
		k.last.Store(&found)
	}
	return found, err
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

// absent turns "no such key" into ErrNotExist, but only if the bucket can be
// listed and has no such object in the list either. listed is what it has.
func (s *S3) absent(ctx context.Context, what, key string, err error) (listed Info, _ error) {
	if !isStatus(err, http.StatusNotFound) {
		return Info{}, s.explain(ctx, what, err)
	}
	for info, lerr := range s.List(ctx, key, "") {
		if lerr != nil || info.Key == key {
			return info, lerr
		}
		break // it would come first
	}
	return Info{}, fmt.Errorf("%s: %w", key, ErrNotExist)
}

// isStatus reports whether the server has answered with an HTTP status.
func isStatus(err error, status int) bool {
	var said minio.ErrorResponse
	return errors.As(err, &said) && said.StatusCode == status
}

// open checks a key, which must be UTF-8 here, and makes the client.
func (s *S3) open(key string) (*s3Client, error) {
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
		return s.absent(ctx, what, key, err)
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
