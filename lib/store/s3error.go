package store

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"unicode"

	"github.com/minio/minio-go/v7"
)

// An s3Error says what was asked for, and what came of it, in one line.
type s3Error struct {
	text string
	err  error
}

func (e *s3Error) Error() string { return e.text }
func (e *s3Error) Unwrap() error { return e.err }

// explain makes an error of the server's fit for people, and one of a context
// that has ended its cause.
func (s *S3) explain(ctx context.Context, what string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	text := s.clean(err.Error())
	var said minio.ErrorResponse
	if errors.As(err, &said) && said.Code != "" && !strings.Contains(text, said.Code) {
		text += " (" + s.clean(said.Code) + ")"
	}
	return &s3Error{what + ": " + text, err}
}

// saidLimit is how much of what a server says is passed on, in bytes.
const saidLimit = 400

// signature is what a request is signed with. It is longer than the words that servers
// put behind that one.
var signature = regexp.MustCompile(`(?i)(signature["=: ]+)[0-9a-z%+/]{16,}`)

// clean makes what somebody else may have written one short line without our
// secrets: there are servers that show a request they did not like.
func (s *S3) clean(text string) string {
	text = signature.ReplaceAllString(text, "$1…")
	if c, err := s.client(); err == nil {
		for _, secret := range c.keys.secrets() {
			text = strings.ReplaceAll(text, secret, "…")
		}
	}
	text = strings.ToValidUTF8(strings.Join(strings.FieldsFunc(text, unicode.IsControl), " "), "?")
	if len(text) > saidLimit {
		text = strings.ToValidUTF8(text[:saidLimit], "") + "…"
	}
	return strings.TrimSpace(text)
}

// secrets are those that may have been sent.
func (k *s3Keys) secrets() (all []string) {
	last := k.last.Load()
	if last == nil {
		return nil
	}
	for _, secret := range []string{last.SecretAccessKey, last.SessionToken} {
		if secret != "" {
			all = append(all, secret)
		}
	}
	return all
}
