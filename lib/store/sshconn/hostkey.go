package sshconn

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
)

// ErrHostKey says that the far side is not known to be who it should be.
var ErrHostKey = errors.New("host key")

// trust says which keys of a host are accepted, and in which forms to ask for
// one. A host of which one kind of key is known must not be asked for another.
func (h Host) trust() (check ssh.HostKeyCallback, algorithms []string, err error) {
	var files []string
	for _, file := range h.KnownHosts {
		if _, err := os.Stat(file); err == nil {
			files = append(files, file)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, nil, err
		}
	}
	known, err := knownhosts.NewDB(files...)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %v", ErrHostKey, err)
	}
	verify := known.HostKeyCallback()
	check = func(_ string, remote net.Addr, key ssh.PublicKey) error {
		return h.judge(verify(h.known(), remote, key), key)
	}
	return check, known.HostKeyAlgorithms(h.known()), nil
}

// judge says what a host's key is worth. One that differs from what is known is
// never accepted, whatever the configuration says.
func (h Host) judge(err error, key ssh.PublicKey) error {
	fingerprint := ssh.FingerprintSHA256(key)
	switch {
	case err == nil:
		return nil
	case knownhosts.IsHostKeyChanged(err):
		return fmt.Errorf("%w of %s has CHANGED to %s %s: somebody may be listening, or the host is new; if so: ssh-keygen -R %s",
			ErrHostKey, h.Name, key.Type(), fingerprint, knownhosts.Normalize(h.known()))
	case knownhosts.IsHostUnknown(err) && h.AcceptNew:
		return h.remember(key)
	case knownhosts.IsHostUnknown(err):
		return fmt.Errorf("%w of %s is not known (%s %s): compare it with the host's own and add it to known_hosts, for instance by: ssh %s",
			ErrHostKey, h.Name, key.Type(), fingerprint, h.Name)
	}
	return fmt.Errorf("%w of %s: %v", ErrHostKey, h.Name, err)
}

// remember adds the key to the first file of the user's.
func (h Host) remember(key ssh.PublicKey) error {
	if len(h.KnownHosts) == 0 {
		return fmt.Errorf("%w of %s: there is no file of known hosts to add it to", ErrHostKey, h.Name)
	}
	path := h.KnownHosts[0]
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	line := knownhosts.Line([]string{knownhosts.Normalize(h.known())}, key) + "\n"
	if isCut(file) {
		line = "\n" + line
	}
	_, err = file.WriteString(line)
	return errors.Join(err, file.Close())
}

// isCut reports whether the last line of a file has no end, as some editors leave it.
func isCut(file *os.File) bool {
	info, err := file.Stat()
	if err != nil || info.Size() == 0 {
		return false
	}
	last := make([]byte, 1)
	_, err = file.ReadAt(last, info.Size()-1)
	return err == nil && last[0] != '\n'
}
