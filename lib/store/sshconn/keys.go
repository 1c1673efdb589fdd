package sshconn

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// A ring is the keys with which a user may prove who he is.
type ring struct {
	host  Host
	agent net.Conn // nil if there is none
	noted []error  // why a key could not be used
}

// openRing connects to the agent. Without one, the files alone count. One that is
// silent is given up with ctx.
func openRing(ctx context.Context, h Host) *ring {
	r := &ring{host: h}
	if h.Agent != "" {
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", h.Agent)
		if err != nil {
			r.noted = append(r.noted, fmt.Errorf("agent: %w", err))
		} else {
			r.agent = conn
			context.AfterFunc(ctx, func() { conn.Close() })
		}
	}
	return r
}

func (r *ring) close() {
	if r.agent != nil {
		r.agent.Close()
	}
}

// signers are the keys to try, in ssh's order: those of files that the agent
// holds, its others unless IdentitiesOnly forbids that, those that are only in
// files.
func (r *ring) signers() ([]ssh.Signer, error) {
	held := r.held()
	var first, last []ssh.Signer
	for _, file := range r.host.Identities {
		public := publicKey(file)
		if i := indexOf(held, public); i >= 0 {
			first = append(first, held[i])
			held = append(held[:i:i], held[i+1:]...)
			continue
		}
		key, err := readKey(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			r.noted = append(r.noted, err)
			continue
		}
		last = append(last, key...)
	}
	if !r.host.IdentitiesOnly {
		first = append(first, held...)
	}
	return append(first, last...), nil
}

// held are the keys of the agent.
func (r *ring) held() []ssh.Signer {
	if r.agent == nil {
		return nil
	}
	keys, err := agent.NewClient(r.agent).Signers()
	if err != nil {
		r.noted = append(r.noted, fmt.Errorf("agent: %w", err))
	}
	return keys
}

func indexOf(keys []ssh.Signer, public ssh.PublicKey) int {
	if public == nil {
		return -1
	}
	for i, k := range keys {
		if bytes.Equal(k.PublicKey().Marshal(), public.Marshal()) {
			return i
		}
	}
	return -1
}

// publicKey is the public half of the key that a setting means, nil if it is not
// to be found: the file may be that half, it may lie beside the file, and a file
// with a passphrase tells it without.
func publicKey(file string) ssh.PublicKey {
	for _, path := range []string{file, file + ".pub"} {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		if key, _, _, _, err := ssh.ParseAuthorizedKey(text); err == nil {
			return key
		}
		var locked *ssh.PassphraseMissingError
		if _, err := ssh.ParsePrivateKey(text); errors.As(err, &locked) && locked.PublicKey != nil {
			return locked.PublicKey
		}
	}
	return nil
}

// readKey reads a private key, and before it the certificate beside it.
func readKey(file string) ([]ssh.Signer, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	key, err := ssh.ParsePrivateKey(text)
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) {
		return nil, fmt.Errorf("%s: it has a passphrase, so an agent must hold it: ssh-add %s", file, file)
	}
	if _, _, _, _, perr := ssh.ParseAuthorizedKey(text); perr == nil {
		return nil, fmt.Errorf("%s: it is the public half only, so an agent must hold the key", file)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	keys := []ssh.Signer{key}
	if text, err := os.ReadFile(file + "-cert.pub"); err == nil {
		if signer := certified(text, key); signer != nil {
			keys = []ssh.Signer{signer, key}
		}
	}
	return keys, nil
}

func certified(text []byte, key ssh.Signer) ssh.Signer {
	public, _, _, _, err := ssh.ParseAuthorizedKey(text)
	if err != nil {
		return nil
	}
	cert, ok := public.(*ssh.Certificate)
	if !ok {
		return nil
	}
	signer, err := ssh.NewCertSigner(cert, key)
	if err != nil {
		return nil
	}
	return signer
}
