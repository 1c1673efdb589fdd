package report

import "time"

// Facts are what a page is made of. Times that are unknown are zero, and so are
// durations and numbers.
type Facts struct {
	Made          time.Time // now
	Repository    Repository
	Recovery      Recovery
	Timelines     []Timeline
	Backups       []Backup
	Holes         []Hole
	Lost          []string // timeline histories that are not there and must have been
	WAL           Volume
	Verifications []Verification // the newest
	Drills        []Drill
	MoreRecords   bool // older ones of these two
}

// Repository says whose page it is.
type Repository struct {
	Location    string
	ID          string
	SystemID    uint64 // of the cluster
	Major       int    // of PostgreSQL
	SegmentSize int64  // bytes
}

// Recovery is the newest moment that can be recovered.
type Recovery struct {
	Backup   string // from which, "" if there is none
	Size     int64  // of the cluster in that backup, in bytes
	Timeline uint32
	Until    time.Time // the moment
	Exact    bool      // it is a commit's; otherwise when the last WAL was stored
	Why      string    // there is no Backup
	Beyond   string    // why WAL that is there after the moment cannot be reached
}

// A Timeline is one branch of the cluster's history.
type Timeline struct {
	Number  uint32
	Parent  uint32    // 0 for the first
	Forked  time.Time // when it left its parent
	ForkLSN string
	Windows []Window
}

// A Volume is how much WAL was stored, by the time at which it was.
type Volume struct {
	Segments int64
	Stored   int64 // bytes
	Width    time.Duration
	Bars     []Bar // in the order of time; where nothing was stored there is none
}

// A Bar is the WAL of one hour, day, week or year.
type Bar struct {
	From     time.Time
	Segments int64
	Stored   int64 // bytes
}

// A Window is a time any moment of which can be recovered.
type Window struct{ From, To time.Time }

// A Backup is complete, under way, or what one has left.
type Backup struct {
	Label    string
	Type     string // full, incremental, or incomplete
	Timeline uint32
	Start    time.Time
	Stop     time.Time
	Size     int64 // of the cluster, in bytes
	Stored   int64 // bytes of its own objects
	Parent   string
	Pinned   bool
	Pin      string // why
	State    State
	Remark   string // why it is not Good, or not complete
}

// Types of backups.
const (
	Full        = "full"
	Incremental = "incremental"
	Incomplete  = "incomplete"
)

func (b Backup) damaged() bool { return b.State == Bad }

// unread holds for one that may be good: nobody could look.
func (b Backup) unread() bool { return b.State == Doubtful && b.complete() }

func (b Backup) complete() bool { return b.Type != Incomplete }

func (b Backup) took() time.Duration {
	if b.Start.IsZero() || b.Stop.IsZero() {
		return 0
	}
	return max(b.Stop.Sub(b.Start), 0)
}

// A State is how good something is.
type State int

// The states.
const (
	Good State = iota
	Doubtful
	Bad
)

// String names it; it is also the name of a class and of a symbol on the page.
func (s State) String() string { return [...]string{"good", "doubtful", "bad"}[s] }

// A Hole is a run of segments that are not there.
type Hole struct {
	Kind        HoleKind
	Timeline    uint32
	First, Last string // names of segments
	Segments    uint64
	From, To    time.Time // between which its WAL was written
	Since       time.Time // when it was dropped, accepted or expired
	Reason      string
}

// A HoleKind says why the WAL is missing.
type HoleKind string

// Kinds of holes.
const (
	Missing  HoleKind = "missing"
	Dropped  HoleKind = "dropped"  // by wal-push --queue-max
	Accepted HoleKind = "accepted" // by an operator
	Expired  HoleKind = "expired"  // removed on purpose
)

// open says that nobody has accepted it.
func (h Hole) open() bool { return h.Kind == Missing || h.Kind == Dropped }

// A Verification is one that was recorded.
type Verification struct {
	Began, Ended time.Time
	Full         bool // every byte was read
	Passed       bool
	Findings     int64
	Objects      int64
	Bytes        int64 // read
	Host         string
}

// Tells says whether older ones make no difference any more.
func (v Verification) Tells() bool { return v.Full || !v.Passed }

// A Drill is a restore that was tried and recorded.
type Drill struct {
	Began                    time.Time
	Passed                   bool
	Backup, Target, Host     string
	Size                     int64 // of the cluster, in bytes
	Restore, Recovery, Check time.Duration
	Commit                   string // time of the last commit that was recovered
	Amcheck                  string
	Step, Reason             string // where and why it failed
}

// Tells says whether older ones make no difference any more.
func (d Drill) Tells() bool { return d.Passed && d.took() > 0 }

// took is how long it was until the server could be used.
func (d Drill) took() time.Duration { return d.Restore + d.Recovery }
