package lock

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"pgpipes/lib/store"
	"pgpipes/lib/wait"
)

// A Lease is mutual exclusion on a store that knows nothing but put-if-absent.
// It is the last of the objects
//
//	lease/NAME/0000000007
//
// whose number is its epoch: lines of a key, a tab and a value, which say who
// holds it and for how long, or that it is free. Whoever puts the next number
// has taken the lease, renewed it or given it up; as nothing is overwritten
// that can be only one. So a holder that was paused, and in whose place another
// one has come, finds the number taken and knows that it has lost the lease.
//
// No two clocks are compared. A lease has expired for somebody who has seen the
// same epoch for as long, by its own clock, as the holder promised to renew it in.
// The holder's own clock is the machine's uptime: it counts from before the epoch
// was put, in whichever of its processes, and while the machine slept.
type Lease struct {
	store store.Store
	name  string
	note  leaseNote
	epoch uint64
	since time.Duration // the uptime when nobody had seen the epoch yet
}

// ErrLost says that a lease is another's now, or may be.
var ErrLost = errors.New("the lease was lost")

const (
	leaseTitle = "pgpipes-lease"
	leaseSize  = 4096
	// renewals is how often a lease is renewed before it would expire.
	renewals = 4
	// glance is how often the uptime is looked at. Timers stand still while the
	// machine sleeps.
	glance = time.Second
)

var uptime = wait.Uptime // tests have a machine that sleeps

// leaseNote is the text of the object.
type leaseNote struct {
	token  string // tells the holder from all others; "" if the lease is free
	holder string // for people
	term   time.Duration
}

func (n leaseNote) text() string {
	if n.token == "" {
		return leaseTitle + "\t1\nfree\n"
	}
	return fmt.Sprintf("%s\t1\ntoken\t%s\nterm\t%s\nholder\t%s\n", leaseTitle, n.token, n.term, n.holder)
}

// parseLease reads a note. One that is damaged is held by nobody knows whom,
// for the usual time.
func parseLease(text string) leaseNote {
	n := leaseNote{token: "unknown", holder: "held by somebody who has not said who", term: DefaultTerm}
	lines := strings.Split(text, "\n")
	if len(lines) > 1 && lines[0] == leaseTitle+"\t1" && lines[1] == "free" {
		return leaseNote{}
	}
	for _, line := range lines {
		key, value, _ := strings.Cut(line, "\t")
		switch key {
		case "token":
			n.token = value
		case "holder":
			n.holder = value
		case "term":
			if d, err := time.ParseDuration(value); err == nil && d > 0 && d <= longestTerm {
				n.term = d
			}
		}
	}
	return n
}

const (
	// DefaultTerm is how long a lease lasts that is not renewed.
	DefaultTerm = time.Minute
	longestTerm = time.Hour
)

func leasePrefix(name string) string { return "lease/" + name + "/" }

func leaseKey(name string, epoch uint64) string {
	return fmt.Sprintf("%s%010d", leasePrefix(name), epoch)
}

// leaseEpoch is the number in a key. Text that says the same number in another
// way is no key of a lease.
func leaseEpoch(name, key string) (epoch uint64, ok bool) {
	epoch, err := strconv.ParseUint(strings.TrimPrefix(key, leasePrefix(name)), 10, 64)
	return epoch, err == nil && key == leaseKey(name, epoch)
}

// Take takes a lease, and waits for a busy one as long as patience says; then
// the error wraps ErrBusy and names the holder. One that looks as if it had been
// left behind is watched for its term even without patience.
func Take(ctx context.Context, s store.Store, name, command string, term, patience time.Duration) (*Lease, error) {
	if strings.Contains(name, "/") {
		return nil, fmt.Errorf("%w: lock name %q", store.ErrKey, name)
	}
	l := &Lease{store: s, name: name, note: leaseNote{rand.Text(), describeHolder(command), term}}
	var deadline time.Time // set when the lease has been seen to be busy
	var seen sighting
	for {
		last, err := l.look(ctx)
		if err != nil {
			return nil, forAll(name, err)
		}
		seen.note(last)
		if last.free() || seen.expired() {
			l.since = uptime()
			taken, err := l.claim(ctx, last.epoch+1)
			if err != nil || taken {
				return l, forAll(name, err)
			}
			continue
		}
		now := time.Now()
		if deadline.IsZero() {
			deadline = now.Add(max(patience, term/handover))
		}
		if now.After(deadline) && !seen.worthWaiting() {
			return nil, fmt.Errorf("%w: %s", ErrBusy, last.holder)
		}
		if !wait.Sleep(ctx, min(last.term/renewals/4, pollLease)) {
			return nil, context.Cause(ctx)
		}
	}
}

// forAll says what to do when the leases are another user's.
func forAll(name string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%w (who shares the lock %s has to be able to read and write what is below %s)", err, name, leasePrefix(name))
	}
	return err
}

// handover is the share of its term for which a busy lease is watched also without
// patience: whoever has just ended gives his up in the background.
const handover = 30

// pollLease is how often a busy lease is looked at.
const pollLease = 2 * time.Second

// A standing is the last epoch of a lease.
type standing struct {
	leaseNote
	epoch  uint64 // 0 if there is none
	stored time.Time
}

func (s standing) free() bool { return s.epoch == 0 || s.token == "" }

// A sighting is since when the same epoch has been seen.
type sighting struct {
	standing
	since time.Time
	alive bool // it was another one before
}

func (s *sighting) note(now standing) {
	if now.epoch != s.epoch || s.since.IsZero() {
		*s = sighting{now, time.Now(), !s.since.IsZero()}
	}
}

func (s *sighting) expired() bool { return time.Since(s.since) > s.term }

// worthWaiting reports whether the lease looks old by the clocks of two hosts, or they
// differ so much that it may be. That is no proof, only a reason to look for one.
func (s *sighting) worthWaiting() bool { return !s.alive && time.Since(s.stored).Abs() > s.term }

// look finds the last epoch.
func (l *Lease) look(ctx context.Context) (standing, error) {
	for {
		var last standing
		var key string
		for info, err := range l.store.List(ctx, leasePrefix(l.name), "") {
			if err != nil {
				return standing{}, err
			}
			if epoch, ok := leaseEpoch(l.name, info.Key); ok && epoch >= last.epoch {
				last.epoch, last.stored, key = epoch, info.ModTime, info.Key
			}
		}
		if last.epoch == 0 {
			return last, nil
		}
		text, err := readSmall(ctx, l.store, key)
		if errors.Is(err, store.ErrNotExist) {
			continue // there is a later one by now
		}
		last.leaseNote = parseLease(text)
		return last, err
	}
}

func readSmall(ctx context.Context, s store.Store, key string) (string, error) {
	body, err := s.Get(ctx, key, 0, leaseSize)
	if err != nil {
		return "", err
	}
	defer body.Close()
	text, err := io.ReadAll(body)
	return string(text), err
}

// claim puts an epoch, and removes those before it. It reports whether that is
// ours, and the last.
func (l *Lease) claim(ctx context.Context, epoch uint64) (bool, error) {
	if epoch == 0 {
		return false, fmt.Errorf("no number comes after the last one in %s: remove what is there", leasePrefix(l.name))
	}
	_, err := l.store.Put(ctx, leaseKey(l.name, epoch), func(w io.Writer) error {
		_, err := io.WriteString(w, l.note.text())
		return err
	})
	// One that is taken, and gone before it could be compared, was swept by
	// somebody who has a later one.
	if errors.Is(err, store.ErrDiffers) || errors.Is(err, store.ErrVanished) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	l.epoch = epoch
	return l.sweep(ctx)
}

// sweep removes what is before the epoch of the lease; others may do the same,
// and who may not remove leaves it to them. It reports whether nothing is after
// it: the number of a holder that was away for long may be free again.
func (l *Lease) sweep(ctx context.Context) (last bool, err error) {
	able := true
	for info, err := range l.store.List(ctx, leasePrefix(l.name), "") {
		if err != nil {
			return false, err
		}
		epoch, ok := leaseEpoch(l.name, info.Key)
		switch {
		case !ok:
		case epoch > l.epoch:
			return false, nil
		case epoch < l.epoch && able:
			err := l.store.Remove(ctx, info.Key)
			able = err == nil || errors.Is(err, store.ErrNotExist)
		}
	}
	return true, nil
}

// Outdated are the keys of all leases in a store that do not count any more, because
// later ones are there. Holders who may not remove leave them behind.
func Outdated(ctx context.Context, s store.Store) (keys []string, err error) {
	type lease struct {
		key   string
		epoch uint64
	}
	last := map[string]lease{}
	for info, err := range s.List(ctx, "lease/", "") {
		if err != nil {
			return nil, err
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(info.Key, "lease/"), "/")
		epoch, ok := leaseEpoch(name, info.Key)
		if !ok {
			continue
		}
		now := lease{info.Key, epoch}
		before, more := last[name]
		if more && before.epoch > epoch { // numbers are longer than ten digits
			now, before = before, now
		}
		if more {
			keys = append(keys, before.key)
		}
		last[name] = now
	}
	return keys, nil
}

// pause is the time between two renewals, and how long one attempt may take.
func (l *Lease) pause() time.Duration { return l.note.term / renewals }

// end is the uptime at which a lease that was not renewed counts as lost: a pause
// before others may take it, in which its holder can end.
func (l *Lease) end() time.Duration { return l.since + l.note.term - l.pause() }

// Renew promises to renew the lease within its term once more. What fails is tried
// again; the error wraps ErrLost if somebody else has the lease, and as soon as
// others may soon believe that it has expired.
func (l *Lease) Renew(ctx context.Context) error {
	if uptime() >= l.end() {
		return fmt.Errorf("%w: it was not renewed in time", ErrLost)
	}
	inTime, cancel := context.WithCancelCause(ctx)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer cancel(nil)
	end := l.end()
	watch.Go(func() {
		sleepUntil(inTime, end)
		cancel(errors.New("there is no time left"))
	})
	since := uptime() // also what has failed may have been seen
	err := wait.Retry(inTime, l.note.term, notLost, func() error { return l.renew(inTime) })
	switch {
	case err == nil:
		l.since = since
	case notLost(err) && ctx.Err() == nil:
		err = fmt.Errorf("%w: it could not be renewed: %v", ErrLost, err)
	}
	return err
}

func notLost(err error) bool { return !errors.Is(err, ErrLost) }

func (l *Lease) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, l.pause(), fmt.Errorf("no answer within %s", l.pause()))
	defer cancel()
	mine, err := l.claim(ctx, l.epoch+1)
	if err == nil && !mine {
		err = ErrLost
	}
	return err
}

// sleepUntil waits for an uptime, and reports whether ctx was still alive then.
func sleepUntil(ctx context.Context, at time.Duration) bool {
	for left := at - uptime(); left > 0; left = at - uptime() {
		if !wait.Sleep(ctx, min(left, glance)) {
			return false
		}
	}
	return ctx.Err() == nil
}

// Held is an error that wraps ErrLost, and names the holder, unless the lease is
// still ours.
func (l *Lease) Held(ctx context.Context) error {
	last, err := l.look(ctx)
	switch {
	case err != nil || last.token == l.note.token:
		return err
	case last.free():
		return ErrLost
	}
	return fmt.Errorf("%w: %s", ErrLost, last.holder)
}

// Keep renews the lease until ctx ends, and returns nil then. It returns an
// error that wraps ErrLost before others may believe that it has expired.
func (l *Lease) Keep(ctx context.Context) error {
	for sleepUntil(ctx, l.since+l.pause()) {
		if err := l.Renew(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// Release gives the lease up. The object that says so stays: without it a
// holder that has lost the lease could take its old number for its own.
func (l *Lease) Release(ctx context.Context) error {
	token := l.note.token
	l.note = leaseNote{}
	for {
		next := l.epoch + 1
		_, err := l.claim(ctx, next)
		if l.epoch == next { // it is said, whoever has come since
			return nil
		}
		if err != nil {
			return err
		}
		last, err := l.look(ctx)
		if err == nil && last.token != token {
			err = ErrLost
		}
		if err != nil {
			return err
		}
		l.epoch = last.epoch // a renewal of which we have not heard
	}
}

// String is the lease for another process of this host, see Adopt.
func (l *Lease) String() string {
	return fmt.Sprintf("%d:%s:%s:%s:%s", l.epoch, l.note.token, l.note.term, l.since, l.note.holder)
}

// Adopt is a lease that another process has taken, from its String. One that
// was renewed meanwhile can be asked whether it is held, and nothing else.
func Adopt(s store.Store, name, text string) (*Lease, error) {
	part := strings.SplitN(text, ":", 5)
	if len(part) != 5 {
		return nil, fmt.Errorf("%q is not a lease", text)
	}
	epoch, err1 := strconv.ParseUint(part[0], 10, 64)
	term, err2 := time.ParseDuration(part[2])
	since, err3 := time.ParseDuration(part[3])
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	return &Lease{store: s, name: name, epoch: epoch, note: leaseNote{part[1], part[4], term}, since: since}, nil
}

// describeHolder says who holds it as holder does of a file.
func describeHolder(command string) string {
	return describedHolder(strconv.Itoa(os.Getpid()), hostName(), now(), oneLine(command))
}
