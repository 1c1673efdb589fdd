// Package verify looks for all that is wrong in a repository, without a restore:
// objects that are not what was stored, WAL and parts of backups that are missing,
// holes that recoveries would come upon.
//
// One listing is taken stock of (stock); the identity, the histories, the notes,
// the backups and the holes are checked by it. Then WAL is read (wal, walgroup) and
// followed from segment to segment (log), the beginnings of timelines are compared
// with what their histories say (branch), and last come the parts of backups (tars).
// What has been found whole a journal can remember.
package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"
	"time"

	"pgpipes/lib/archive"
	"pgpipes/lib/manifest"
	"pgpipes/lib/store"
	"pgpipes/lib/wait"
)

// A Verification looks for all that is wrong in a repository, without a restore.
// Findings do not end it. What vanishes meanwhile because expire removes it is
// none.
type Verification struct {
	// Quick leaves WAL and parts unread: names and sizes have to tell.
	Quick bool
	// Labels are the backups to verify, each with its WAL; none mean that
	// everything is.
	Labels  []string
	Jobs    int        // how many objects are read at once
	Pace    *wait.Pace // counts the bytes that are read of WAL and parts; its Total is set
	Journal *Journal   // what need not be read again; may be nil

	// Tars reads and compares parts: lib/inspect can.
	Tars func(context.Context, Tars) iter.Seq2[manifest.Difference, error]
	// Source opens a part that is not stored as lib/codec knows it; nil if all are.
	Source func(label string, p manifest.Part) (io.ReadCloser, error)

	Found  func(Finding) error                // an error of it ends all
	Failed func(error)                        // told of what could not be looked at
	Remark func(format string, values ...any) // told of what is no fault
}

// Tars are parts of one backup that are to be read and compared with its
// manifest, see inspect.Reading.
type Tars struct {
	List  func() (io.ReadCloser, error)
	Parts []manifest.Part
	Open  func(manifest.Part) (io.ReadCloser, error)
	Alone bool
	Jobs  int
	Read  func(p manifest.Part, err error)
}

// Verified says how a verification has ended.
type Verified struct {
	Began, Ended time.Time
	Objects      int64 // looked at
	Backups      int   // that are complete
	Bytes        int64 // read of WAL and parts
	Skipped      int64 // bytes of them that the journal knew
	Findings     int
	Failures     int // what could not be looked at
}

// Run verifies a repository. Its error is one that has ended it: the rest has not
// been looked at.
func Run(ctx context.Context, r *archive.Repo, o Verification) (Verified, error) {
	v := &verifier{Repo: r, Verification: o, known: map[string]bool{}}
	v.Jobs = max(v.Jobs, 1)
	if v.Pace == nil {
		v.Pace = wait.NewPace(0, nil)
	}
	v.result.Began = time.Now()
	err := v.run(ctx)
	v.result.Ended, v.result.Bytes = time.Now(), v.Pace.Done()-v.result.Skipped
	return v.result, cmp.Or(v.stopped, err)
}

// A verifier is a verification under way.
type verifier struct {
	*archive.Repo
	Verification
	stock  stock
	second *archive.Coverage // see look

	mu      sync.Mutex // guards what is below, and the calls of the three functions
	known   map[string]bool
	result  Verified
	stopped error
}

func (v *verifier) run(ctx context.Context) error {
	if err := v.checkIdentity(ctx); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{
		v.takeStock, v.checkHistories, v.checkNotes, v.checkBackups, v.checkHoles,
	} {
		if err := v.step(ctx, step); err != nil {
			return err
		}
	}
	if v.Quick {
		return nil
	}
	if v.all() {
		v.Pace.Total = v.stock.bytes
	}
	if err := v.step(ctx, v.readWAL); err != nil {
		return err
	}
	return v.step(ctx, v.readBackups)
}

// step does one, unless nobody wants to know any more.
func (v *verifier) step(ctx context.Context, do func(context.Context) error) error {
	if err := do(ctx); err != nil {
		return err
	}
	return cmp.Or(v.halted(), ctx.Err())
}

// halted is an error when nobody wants to know any more.
func (v *verifier) halted() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.stopped
}

// all says that everything is verified, not only some backups.
func (v *verifier) all() bool { return len(v.Labels) == 0 }

// found tells of a finding, once for each kind and name.
func (v *verifier) found(kind, name, format string, values ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	f := Finding{kind, name, fmt.Sprintf(format, values...)}
	if kind != FoundDiffers { // of which there may be several
		if v.known[kind+"\t"+name] {
			return
		}
		v.known[kind+"\t"+name] = true
	}
	v.result.Findings++
	v.stopped = cmp.Or(v.stopped, v.Found(f))
}

// failed tells of what could not be looked at.
func (v *verifier) failed(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.result.Failures++
	v.Failed(err)
}

func (v *verifier) remark(format string, values ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.Remark(format, values...)
}

// judge tells what an error with an object is: a finding or a failure. That the
// object is not there is neither: it was a moment ago, and whether it is needed
// is another question, for which judge returns true.
func (v *verifier) judge(key string, err error) (vanished bool) {
	switch {
	case errors.Is(err, store.ErrNotExist):
		return true
	case isDamage(err):
		v.found(FoundDamaged, key, "%s", complaint(key, err))
	default:
		v.failed(fmt.Errorf("%s: %w", key, err))
	}
	return false
}

// skip counts what need not be read.
func (v *verifier) skip(info store.Info) {
	v.mu.Lock()
	v.result.Skipped += info.Size
	v.mu.Unlock()
	v.Pace.Add(info.Size)
}

// paced reads no faster than it may.
type paced struct {
	ctx context.Context
	io.ReadCloser
	pace *wait.Pace
}

func (p paced) Read(b []byte) (int, error) {
	n, err := p.ReadCloser.Read(b[:min(len(b), wait.PaceBurst)])
	p.pace.Add(int64(n))
	if werr := p.pace.Wait(p.ctx, n); err == nil {
		err = werr
	}
	return n, err
}

// open opens an object that is to be read as a whole.
func (v *verifier) open(ctx context.Context, key string) (io.ReadCloser, error) {
	body, err := v.Get(ctx, key, 0, -1)
	if err != nil {
		return nil, err
	}
	return paced{ctx, body, v.Pace}, nil
}
