package retain_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgpipes/lib/retain"
	"pgpipes/lib/wal"
)

const size wal.SegmentSize = 1 << 20

// world is a cluster's true past, from which a state is made. It answers what
// is needed by walking from child to parent, which the code under test cannot.
type world struct {
	parent map[wal.Timeline]wal.Timeline
	fork   map[wal.Timeline]wal.LSN // where a timeline left its parent
	state  retain.State
	policy retain.Policy
}

func newWorld(seed uint64) world {
	r := rand.New(rand.NewPCG(seed, 1))
	w := world{parent: make(map[wal.Timeline]wal.Timeline), fork: make(map[wal.Timeline]wal.LSN)}
	w.policy = randomPolicy(r)
	w.state = retain.State{SegmentSize: size, Now: hour(40 + r.IntN(20)), Histories: make(map[wal.Timeline]wal.History)}
	timelines := wal.Timeline(1 + r.IntN(5))
	for t := wal.Timeline(2); t <= timelines; t++ {
		w.parent[t] = 1 + wal.Timeline(r.IntN(int(t-1)))
		w.fork[t] = w.fork[w.parent[t]] + place(r, 20)
		if r.IntN(8) > 0 {
			w.state.Histories[t] = w.history(t)
		}
	}
	for range r.IntN(8) {
		w.addBackup(r, timelines)
	}
	for _, b := range w.state.Backups {
		if r.IntN(6) == 0 {
			w.policy.Abandon = append(w.policy.Abandon, b.Label)
		}
	}
	for t := wal.Timeline(1); t <= timelines; t++ {
		w.addWAL(r, t)
	}
	return w
}

func randomPolicy(r *rand.Rand) retain.Policy {
	p := retain.Policy{Abandoned: time.Duration(r.IntN(3)) * 10 * time.Hour, KeepMin: max(0, r.IntN(5)-2)}
	if r.IntN(3) > 0 {
		p.KeepLast = r.IntN(4)
	}
	if r.IntN(4) == 0 {
		p.KeepDaily, p.KeepWeekly, p.KeepMonthly, p.KeepYearly = r.IntN(3), r.IntN(2), r.IntN(2), r.IntN(2)
	}
	if r.IntN(4) == 0 {
		p.KeepWithin = time.Duration(1+r.IntN(30)) * time.Hour
	}
	if r.IntN(4) == 0 {
		p.KeepTags = []string{"a"}
	}
	if r.IntN(3) == 0 {
		p.WAL = retain.WALPolicy{Limited: true, Within: time.Duration(r.IntN(40)) * time.Hour}
	}
	return p
}

func hour(n int) time.Time { return time.Date(2026, 11, 1, n, 0, 0, 0, time.UTC) }

// place is a random LSN in the first segments, now and then a segment's first byte.
func place(r *rand.Rand, segments int) wal.LSN {
	l := wal.LSN(r.Int64N(int64(size) * int64(segments)))
	if r.IntN(4) == 0 {
		l -= l % wal.LSN(size)
	}
	return l
}

func (w world) history(t wal.Timeline) wal.History {
	if t == 1 {
		return nil
	}
	return append(w.history(w.parent[t]), wal.Switch{Parent: w.parent[t], At: w.fork[t]})
}

// addBackup adds one on a random timeline; some stop on a descendant.
func (w *world) addBackup(r *rand.Rand, timelines wal.Timeline) {
	t := 1 + wal.Timeline(r.IntN(int(timelines)))
	b := retain.Backup{Label: fmt.Sprintf("b%d", len(w.state.Backups)), Timeline: t, StartTime: hour(r.IntN(40))}
	b.Start = w.fork[t] + place(r, 20)
	if r.IntN(5) == 0 {
		b.Pin = "why"
	}
	if r.IntN(5) == 0 {
		b.Tags = []string{"b", "a"}
	}
	if r.IntN(9) == 0 {
		b.InUse = "being restored"
	}
	if r.IntN(4) == 0 {
		b.Stored = b.StartTime.Add(time.Duration(r.IntN(30)) * time.Hour)
	}
	b.WAL = r.IntN(9) == 0
	if b.Complete = r.IntN(4) > 0; b.Complete {
		b.StopTimeline, b.Stop, b.StopTime = t, b.Start+place(r, 3)+1, b.StartTime.Add(time.Duration(r.IntN(3))*time.Hour)
		for child := t + 1; child <= timelines; child++ {
			if w.parent[child] == b.StopTimeline && w.fork[child] >= b.Start && r.IntN(2) == 0 {
				b.StopTimeline, b.Stop = child, max(b.Stop, w.fork[child]+1)
			}
		}
	}
	for _, old := range w.state.Backups {
		if r.IntN(6) == 0 {
			b.Needs = append(b.Needs, old.Label)
		}
	}
	if r.IntN(20) == 0 {
		b.Needs = append(b.Needs, "gone", b.Label)
	}
	b.Full = len(b.Needs) == 0
	w.state.Backups = append(w.state.Backups, b)
}

// addWAL adds the segments of a timeline, with holes.
func (w *world) addWAL(r *rand.Rand, t wal.Timeline) {
	for next := size.Number(w.fork[t]); r.IntN(4) > 0; {
		last := next + uint64(r.IntN(15))
		w.state.WAL = append(w.state.WAL, retain.WALRange{Timeline: t, First: next, Last: last})
		next = last + 2 + uint64(r.IntN(3))
		if r.IntN(3) == 0 {
			w.state.Partials = append(w.state.Partials, retain.WALRange{Timeline: t, First: next - 1, Last: next - 1})
		}
	}
}

// needsItself reports whether a segment is replayed when the backup is restored
// to its own end.
func (w world) needsItself(b retain.Backup, tli wal.Timeline, n uint64) bool {
	if b.WAL || n < size.Number(b.Start) || n > size.LastNumber(b.Stop) {
		return false
	}
	limit, onWay := w.limits(b.StopTimeline)[tli]
	return onWay && tli >= b.Timeline && n <= size.Number(limit) && (tli == b.StopTimeline || n < size.Number(limit))
}

// promised reports whether a kept backup is to be rolled forward: no other one
// that ended after it and long enough ago will do in its place, on any timeline,
// or if it is on the way to the newest timeline, of those that are.
func (w world) promised(b retain.Backup, kept []retain.Backup) bool {
	if !w.policy.WAL.Limited || !b.Complete || b.InUse != "" {
		return true
	}
	return w.bridges(b, kept, w.policy.WAL.Within)
}

// bridges reports whether without a backup some moment within a time could not be
// recovered to, on the newest timeline or at all.
func (w world) bridges(b retain.Backup, kept []retain.Backup, within time.Duration) bool {
	replaced := func(among func(retain.Backup) bool) bool {
		return slices.ContainsFunc(kept, func(c retain.Backup) bool {
			later := c.StopTime.After(b.StopTime) || c.StopTime.Equal(b.StopTime) && c.Label > b.Label
			return c.Complete && later && !c.StopTime.After(w.state.Now.Add(-within)) && among(c)
		})
	}
	return !replaced(func(retain.Backup) bool { return true }) || w.onNewest(b) && !replaced(w.onNewest)
}

// onNewest reports whether a backup can be rolled forward to the newest timeline,
// as far as the repository knows the way.
func (w world) onNewest(b retain.Backup) bool {
	newest := wal.Timeline(1)
	for tli := range w.state.Histories {
		newest = max(newest, tli)
	}
	for _, r := range w.state.WAL {
		newest = max(newest, r.Timeline)
	}
	known := w.state.Histories[newest] != nil || newest == b.StopTimeline
	at, ok := w.limits(newest)[b.StopTimeline]
	return known && ok && at >= b.Stop
}

// limits says, for each timeline on the way down from t to the first, where the
// way leaves it.
func (w world) limits(t wal.Timeline) map[wal.Timeline]wal.LSN {
	limits := make(map[wal.Timeline]wal.LSN)
	limit := wal.LSN(math.MaxUint64)
	for ; t != 0; t = w.parent[t] {
		limits[t] = limit
		limit = min(limit, w.fork[t])
	}
	return limits
}

// needs reports whether a segment is replayed when the backup is rolled forward
// to the end of some timeline.
func (w world) needs(b retain.Backup, tli wal.Timeline, n uint64) bool {
	stopTimeline, stop := b.StopTimeline, b.Stop
	if !b.Complete {
		stopTimeline, stop = b.Timeline, b.Start
	}
	for end := wal.Timeline(1); end <= wal.Timeline(1+len(w.parent)); end++ {
		limits := w.limits(end)
		if at, ok := limits[stopTimeline]; !ok || at < stop {
			continue // the end cannot be reached from the backup
		}
		limit, onWay := limits[tli]
		if onWay && tli >= b.Timeline && n >= size.Number(b.Start) && n <= size.Number(limit) {
			return true
		}
	}
	return false
}

// mustKeep are the labels that the rules keep, by a plain reading of them.
func (w world) mustKeep() map[string]bool {
	keep := make(map[string]bool)
	for _, b := range w.state.Backups {
		newer, begunLater := 0, false
		for _, c := range w.state.Backups {
			if c.Complete && (c.StopTime.After(b.StopTime) || c.StopTime.Equal(b.StopTime) && c.Label > b.Label) {
				newer++
			}
			begunLater = begunLater || c.Complete && c.StartTime.After(b.StartTime)
		}
		old := w.policy.Abandoned > 0 && w.state.Now.Sub(b.StartTime) > w.policy.Abandoned && w.state.Now.Sub(b.Stored) > w.policy.Abandoned
		gone := !b.Complete && slices.Contains(w.policy.Abandon, b.Label)
		keep[b.Label] = !w.hasRule() && !gone || b.Pin != "" || b.InUse != "" || b.Complete && newer == 0 ||
			b.Complete && newer < w.policy.KeepLast || !b.Complete && !gone && !(old && begunLater) ||
			b.Complete && w.policy.KeepWithin > 0 && w.bridges(b, w.state.Backups, w.policy.KeepWithin) ||
			b.Complete && w.policy.KeepTags != nil && b.Tags != nil
	}
	return keep
}

func (w world) hasRule() bool {
	p := w.policy
	return p.KeepLast+p.KeepDaily+p.KeepWeekly+p.KeepMonthly+p.KeepYearly > 0 || p.KeepWithin > 0 || p.KeepTags != nil
}

// fulls counts the complete full backups.
func fulls(backups []retain.Backup) (n int) {
	for _, b := range backups {
		if b.Complete && b.Full {
			n++
		}
	}
	return n
}

// check checks every guarantee for one world and returns how much was dropped.
func check(t *testing.T, seed uint64) (dropped int) {
	w := newWorld(seed)
	decisions := retain.Decide(w.state, w.policy)
	kept, drops := apply(w.state, decisions)

	for label, must := range w.mustKeep() {
		if must && !slices.ContainsFunc(kept.Backups, func(b retain.Backup) bool { return b.Label == label }) {
			t.Errorf("seed %d: backup %s is dropped", seed, label)
		}
	}
	complete := slices.ContainsFunc(w.state.Backups, func(b retain.Backup) bool { return b.Complete })
	for _, d := range drops {
		if d.Kind == retain.KindBackup {
			if !w.hasRule() && !slices.Contains(w.policy.Abandon, d.Name) {
				t.Errorf("seed %d: no rule: %v", seed, d)
			}
			continue
		}
		if !w.hasRule() && !w.policy.WAL.Limited {
			t.Errorf("seed %d: no rule: %v", seed, d)
		}
		if !complete || d.WAL.Timeline > 1 && w.state.Histories[d.WAL.Timeline] == nil {
			t.Errorf("seed %d: no complete backup, or no history: %v", seed, d)
		}
		for n := d.WAL.First; n <= d.WAL.Last; n++ {
			for _, b := range kept.Backups {
				forward := w.promised(b, kept.Backups) && w.needs(b, d.WAL.Timeline, n)
				if forward || b.Complete && w.needsItself(b, d.WAL.Timeline, n) {
					t.Errorf("seed %d: %v: %s needs segment %d", seed, d, b.Label, n)
				}
			}
		}
	}
	if left := fulls(kept.Backups); left < min(w.policy.KeepMin, fulls(w.state.Backups)) {
		t.Errorf("seed %d: %d full backups are left", seed, left)
	}
	checkNeeds(t, seed, w.state, kept)
	checkWhole(t, seed, w.state, decisions)
	checkStable(t, seed, w, kept, decisions)
	return len(drops)
}

// checkNeeds checks that no backup is dropped of which a kept one uses parts.
func checkNeeds(t *testing.T, seed uint64, s, kept retain.State) {
	labels := func(backups []retain.Backup) map[string]bool {
		set := make(map[string]bool)
		for _, b := range backups {
			set[b.Label] = true
		}
		return set
	}
	there, stays := labels(s.Backups), labels(kept.Backups)
	for _, b := range kept.Backups {
		for _, label := range b.Needs {
			if there[label] && !stays[label] {
				t.Errorf("seed %d: %s is dropped, but %s uses its parts", seed, label, b.Label)
			}
		}
	}
}

// apply carries out the decisions on a state.
func apply(s retain.State, decisions []retain.Decision) (kept retain.State, drops []retain.Decision) {
	kept = s
	kept.Backups, kept.WAL, kept.Partials = nil, nil, nil
	for _, d := range decisions {
		switch {
		case !d.Keep:
			drops = append(drops, d)
		case d.Kind == retain.KindWAL:
			kept.WAL = append(kept.WAL, d.WAL)
		case d.Kind == retain.KindPartial:
			kept.Partials = append(kept.Partials, d.WAL)
		default:
			i := slices.IndexFunc(s.Backups, func(b retain.Backup) bool { return b.Label == d.Name })
			kept.Backups = append(kept.Backups, s.Backups[i])
		}
	}
	return kept, drops
}

// checkWhole checks that every backup and every segment is decided about once.
func checkWhole(t *testing.T, seed uint64, s retain.State, decisions []retain.Decision) {
	count := make(map[string]int)
	each := func(r retain.WALRange, suffix string, step int) {
		for n := r.First; n <= r.Last; n++ {
			count[size.Name(r.Timeline, n)+suffix] += step
		}
	}
	for _, b := range s.Backups {
		count[b.Label]++
	}
	for _, r := range s.WAL {
		each(r, "", 1)
	}
	for _, r := range s.Partials {
		each(r, ".partial", 1)
	}
	for _, d := range decisions {
		if d.Kind == retain.KindWAL {
			each(d.WAL, "", -1)
		} else {
			count[d.Name]--
		}
	}
	for name, n := range count {
		if n != 0 {
			t.Errorf("seed %d: %s: decided about %d times", seed, name, 1-n)
		}
	}
}

// checkStable checks that the order of the input does not matter, that the
// input is left alone, and that a second decision drops nothing.
func checkStable(t *testing.T, seed uint64, w world, kept retain.State, decisions []retain.Decision) {
	if !reflect.DeepEqual(w.state, newWorld(seed).state) {
		t.Errorf("seed %d: the input was changed", seed)
	}
	slices.Reverse(w.state.Backups)
	slices.Reverse(w.state.WAL)
	slices.Reverse(w.state.Partials)
	if again := retain.Decide(w.state, w.policy); !slices.Equal(again, decisions) {
		t.Errorf("seed %d: %v, in another order %v", seed, decisions, again)
	}
	if _, drops := apply(kept, retain.Decide(kept, w.policy)); len(drops) > 0 {
		t.Errorf("seed %d: the second time dropped: %v", seed, drops)
	}
	checkLater(t, seed, w)
}

// checkLater checks that what is dropped today would be tomorrow, but for what
// fills up a minimum, of what there is then.
func checkLater(t *testing.T, seed uint64, w world) {
	w.policy.KeepMin = 0
	kept, _ := apply(w.state, retain.Decide(w.state, w.policy))
	w.state.Now = w.state.Now.Add(7 * time.Hour)
	later, _ := apply(w.state, retain.Decide(w.state, w.policy))
	for _, b := range later.Backups {
		if !slices.ContainsFunc(kept.Backups, func(k retain.Backup) bool { return k.Label == b.Label }) {
			t.Errorf("seed %d: %s is dropped, and kept later", seed, b.Label)
		}
	}
	for _, r := range later.WAL {
		for n := r.First; n <= r.Last; n++ {
			holds := func(k retain.WALRange) bool { return k.Timeline == r.Timeline && k.First <= n && n <= k.Last }
			if !slices.ContainsFunc(kept.WAL, holds) {
				t.Errorf("seed %d: %s is dropped, and kept later", seed, size.Name(r.Timeline, n))
			}
		}
	}
}

func TestProperties(t *testing.T) {
	dropped := 0
	for seed := range uint64(5000) {
		dropped += check(t, seed)
	}
	if dropped < 5000 {
		t.Errorf("only %d things dropped: the test proves nothing", dropped)
	}
}

func FuzzDecide(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) { check(t, seed) })
}
