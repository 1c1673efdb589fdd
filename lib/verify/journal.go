package verify

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"pgpipes/lib/archive"
	"pgpipes/lib/store"
)

const (
	journalTitle  = "pgpipes-verify-journal"
	journalFormat = "1"
)

// ErrJournal says that a file is no journal of a verification of this
// repository.
var ErrJournal = errors.New("not a journal of this repository's verification")

// A Journal is a file in which a verification notes what it has found whole, so
// that one that was interrupted can be gone on with: a line for the repository,
// then one for each object, of its key, its size in bytes and its time of
// modification. Something that was noted is not read again while the two are the
// same. It belongs outside the repository.
type Journal struct {
	path  string
	file  *os.File
	mu    sync.Mutex // guards file and err
	err   error
	known map[digest]bool
}

// OpenJournal opens the journal of a repository in a file, which is made if need
// be. A last line without an end is dropped: whoever wrote it was killed. The error
// wraps ErrJournal if the file is another repository's, or no journal.
func OpenJournal(r *archive.Repo, path string) (*Journal, error) {
	if d, isDir := r.Store.(interface{ Root() string }); isDir && within(d.Root(), path) {
		return nil, fmt.Errorf("%s: %w: it lies in the repository", path, ErrJournal)
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	j := &Journal{path: path, file: file, known: map[digest]bool{}}
	if err := j.read(strings.Join([]string{journalTitle, journalFormat, r.ID}, "\t")); err != nil {
		file.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return j, nil
}

func within(root, path string) bool {
	dir, err := filepath.Abs(filepath.Dir(path))
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	real, rerr := filepath.EvalSymlinks(root)
	return err == nil && rerr == nil && strings.HasPrefix(dir+"/", real+"/")
}

// read takes the lines of the file, the first of which must be title, and makes
// it ready for more.
func (j *Journal) read(title string) error {
	in := bufio.NewReader(j.file)
	var whole int64 // bytes of whole lines
	for {
		line, err := in.ReadBytes('\n')
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if whole == 0 && string(bytes.TrimSuffix(line, []byte("\n"))) != title {
			return ErrJournal
		}
		if whole > 0 {
			j.known[digestOf(line)] = true
		}
		whole += int64(len(line))
	}
	if info, err := j.file.Stat(); err != nil || whole == 0 && info.Size() > int64(len(title)) {
		return errors.Join(err, ErrJournal)
	}
	if err := j.file.Truncate(whole); err != nil {
		return err
	}
	if whole == 0 {
		_, err := j.file.WriteString(title + "\n")
		return err
	}
	return nil
}

// A digest stands for a line, so that a million of them take little memory.
type digest [16]byte

func digestOf(line []byte) digest {
	sum := sha256.Sum256(line)
	return digest(sum[:16])
}

func journalLine(info store.Info) []byte {
	return []byte(info.Key + "\t" + strconv.FormatInt(info.Size, 10) + "\t" + info.ModTime.UTC().Format(time.RFC3339Nano) + "\n")
}

// has reports whether an object has been noted and is the same.
func (j *Journal) has(info store.Info) bool {
	return j != nil && j.known[digestOf(journalLine(info))]
}

// add notes that an object is whole. What cannot be written is an error of
// Finish: it makes the verification no worse.
func (j *Journal) add(info store.Info) {
	if j == nil || j.has(info) {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err == nil {
		_, j.err = j.file.Write(journalLine(info))
	}
}

// Finish closes the journal, and removes it if the verification has come to its
// end: the next one is to read everything.
func (j *Journal) Finish(ended bool) error {
	err := errors.Join(j.err, j.file.Close())
	if ended {
		err = errors.Join(err, os.Remove(j.path))
	}
	return err
}
