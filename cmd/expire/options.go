package main

import (
	"fmt"
	"runtime"
	"time"

	"pgpipes/lib/archive"
	"pgpipes/lib/cli"
	"pgpipes/lib/manifest"
	"pgpipes/lib/retain"
)

var options struct {
	cli.Repositories
	KeepLast    int           `long:"keep-last" env:"PGPIPES_KEEP_LAST" value-name:"N" description:"keep the last N complete backups"`
	KeepDaily   int           `long:"keep-daily" env:"PGPIPES_KEEP_DAILY" value-name:"N" description:"keep the newest of each of the last N days that have a backup, by UTC"`
	KeepWeekly  int           `long:"keep-weekly" env:"PGPIPES_KEEP_WEEKLY" value-name:"N" description:"the same for weeks, which begin on Monday"`
	KeepMonthly int           `long:"keep-monthly" env:"PGPIPES_KEEP_MONTHLY" value-name:"N" description:"the same for months"`
	KeepYearly  int           `long:"keep-yearly" env:"PGPIPES_KEEP_YEARLY" value-name:"N" description:"the same for years"`
	KeepWithin  cli.Duration  `long:"keep-within" env:"PGPIPES_KEEP_WITHIN" value-name:"TIME" description:"keep what ended within this time, such as 30d, and the newest before"`
	KeepTags    []string      `long:"keep-tag" env:"PGPIPES_KEEP_TAG" env-delim:"," value-name:"NAME" description:"keep backups with this tag; may be repeated"`
	KeepMin     int           `long:"keep-min" env:"PGPIPES_KEEP_MIN" value-name:"N" description:"never leave fewer than N full backups; it is no rule itself"`
	WALKeep     walKeep       `long:"wal-keep" env:"PGPIPES_WAL_KEEP" default:"all" value-name:"TIME|backup|all" description:"how far back a recovery to any moment shall be possible: for a time such as 7d, from the newest backup on, or from the oldest"`
	Abandon     []string      `long:"abandon" value-name:"LABEL" description:"remove what this backup has left, which nobody is writing any more, and apply no rule; may be repeated"`
	Wait        time.Duration `long:"wait" value-name:"TIME" description:"wait for another expire in the repository as long as this, such as 30s or 10m"`
	Jobs        cli.Jobs      `short:"j" long:"jobs" env:"PGPIPES_JOBS" value-name:"N" description:"how many objects to remove at once; 8 by default"`
	DryRun      bool          `short:"n" long:"dry-run" description:"print what would be done, and do nothing"`
	Explain     string        `long:"explain" value-name:"LABEL" description:"say what every rule makes of this backup, and do nothing"`
}

// usualJobs is how many objects are removed at once: it is waiting, not work.
const usualJobs = 8

// walKeep is the value of --wal-keep.
type walKeep retain.WALPolicy

// UnmarshalFlag reads the value of an option.
func (w *walKeep) UnmarshalFlag(text string) error {
	*w = walKeep{Limited: text != "all"}
	if text == "all" || text == "backup" {
		return nil
	}
	var d cli.Duration
	if err := d.UnmarshalFlag(text); err != nil {
		return fmt.Errorf("%q is neither all, backup nor a length of time such as 7d", text)
	}
	w.Within = time.Duration(d)
	return nil
}

// policy is what the options say, checked.
func policy() (retain.Policy, error) {
	o := &options
	for name, n := range map[string]int{
		"last": o.KeepLast, "daily": o.KeepDaily, "weekly": o.KeepWeekly, "monthly": o.KeepMonthly, "yearly": o.KeepYearly, "min": o.KeepMin,
	} {
		if n < 0 {
			return retain.Policy{}, cli.Usagef("--keep-%s %d: a number, 1 or more", name, n)
		}
	}
	for _, tag := range o.KeepTags {
		if !manifest.ValidTag(tag) {
			return retain.Policy{}, cli.Usagef("--keep-tag %q: not a tag; letters, digits, . _ and - may be in it", tag)
		}
	}
	for _, label := range o.Abandon {
		if !manifest.ValidLabel(label) {
			return retain.Policy{}, cli.Usagef("--abandon %q: not a label", label)
		}
	}
	if len(o.Abandon) > 0 {
		return retain.Policy{Abandon: o.Abandon}, nil
	}
	return retain.Policy{
		KeepLast: o.KeepLast, KeepDaily: o.KeepDaily, KeepWeekly: o.KeepWeekly, KeepMonthly: o.KeepMonthly, KeepYearly: o.KeepYearly,
		KeepWithin: time.Duration(o.KeepWithin), KeepTags: o.KeepTags, KeepMin: o.KeepMin,
		WAL: retain.WALPolicy(o.WALKeep), Abandoned: archive.Abandoned,
	}, nil
}

func jobs() int { return options.Jobs.Or(max(usualJobs, runtime.GOMAXPROCS(0))) }
