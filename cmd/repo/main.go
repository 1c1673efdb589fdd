// Repo is a repository as a filter: the last stage of a pipeline that stores,
// the first of one that reads, and a lock around either.
package main

import "pgpipes/lib/cli"

var options struct{ cli.Repositories }

func main() {
	cli.Main(cli.Program{
		Name:    "repo",
		Summary: "Store, fetch, list and remove objects of a repository; run a command under its lock.",
		Description: `Objects appear whole or not at all, are on stable storage when put ends
with 0, and are never overwritten: the same bytes again are success, other
bytes are status 1.

  base-copy … | compress | repo put -r DIR base/$LABEL/000.tar.zst
  repo get -r DIR base/$LABEL/000.tar.zst | base-restore …
  repo lock -r DIR backup --wait 10m backup-script`,
		Options: &options,
		Commands: []cli.Command{
			{Name: "init", Summary: "Make a repository for a cluster; the first wal-push or backup does so by itself.",
				Options: &initOptions, Action: cli.Action{Run: runInit}},
			{Name: "put", Summary: "Store standard input under KEY and print its receipt: SHA-256, size, key.",
				Description: `With --compress the receipt is of what is stored. Compressing here and not in a
pipe leaves nobody whose status gets lost.`,
				Options: &putOptions, Action: cli.Action{Operands: "KEY", Min: 1, Max: 1, Run: runPut}},
			{Name: "get", Summary: "Write the object KEY to standard output.",
				Description: `With several -r the first that has it serves, and where it breaks off the next
one goes on, if it has the same bytes up to there. The next one is asked, too, when
nothing comes for 2s, or for 30s in the middle; whoever then is first goes on, and
one that was silent is told of. The object is absent, status 1, only if all say so:
if one says nothing and no other has it --timeout ends the wait, with 111.`,
				Options: &getOptions, Action: cli.Action{Operands: "KEY", Min: 1, Max: 1, Run: runGet}},
			{Name: "ls", Summary: "List keys that begin with PREFIX, in bytewise order.",
				Options: &lsOptions, Action: cli.Action{Operands: "[PREFIX]", Max: 1, Run: runLs}},
			{Name: "stat", Summary: "Print size, time and key of objects.",
				Action: cli.Action{Operands: "KEY…", Min: 1, Max: cli.Many, Run: runStat}},
			{Name: "rm", Summary: "Remove objects.",
				Action: cli.Action{Operands: "KEY…", Min: 1, Max: cli.Many, Run: runRm}},
			{Name: "copy", Summary: "Copy what is in the repository FROM and not in TO, which is made if need be.",
				Description: `Both are repositories of one cluster, wherever they are. What is there already
is passed over, so it may be run again and again. WAL and parts of backups are
checked on the way and not copied when damaged; WAL becomes visible in order, a
backup that was complete at the beginning when all of it is there and the WAL
that it needs. What a backup has lost in TO is copied again; what is cut there, or
has other contents, is told, with status 111. Nothing is removed in TO: run expire
there. One that is at work in TO when a backup is about to become visible is waited
for up to ten minutes. With --backup only that one is copied, with the WAL and the
backups that it needs. Status 1 says that something is damaged or lost in FROM and
not in TO either; all else is copied.`,
				Options: &copyOptions, Action: cli.Action{Operands: "FROM TO", Min: 2, Max: 2, Run: runCopy}},
			{Name: "lock", Summary: "Run COMMAND while holding the lock NAME; busy is status 1.", Wraps: true,
				Description: `The status is that of COMMAND, which takes the place of this process. The lock
is free as soon as COMMAND and whatever it started are gone, however they
ended. Who finds it busy is told the host, the process, since when, and the name
of COMMAND. In a repository on another host it is a lease, which a process in
the background renews: free a minute after this host is gone. COMMAND begins
when it has been renewed once, and COMMAND and what it started are sent SIGTERM
before others may take a lease that could not be renewed. COMMAND is, too, when
the process in the background ends.

In a directory a lock is a locked file, and a lease, too, when NAME has been locked
over sftp before (lease/NAME/ is there): so those who come either way keep each
other out, all but one who holds the file since before the first lock over sftp.`,
				Options: &lockOptions, Action: cli.Action{Operands: "NAME [--wait TIME] COMMAND [ARG]…", Min: 2, Max: cli.Many, Run: runLock}},
			{Name: "guard", Summary: "Serve sftp on the standard streams, of which only what adds to the repository DIR gets through.",
				Description: `For authorized_keys on a backup host, so that a database host can add to its
repository and neither change nor remove what is there:

  restrict,command="/usr/local/bin/repo guard /backup/pg/main" ssh-ed25519 AAAA…

Then use sftp://host/backup/pg/main. expire is run on the backup host. A client
may do several things at once; one that breaks the rules of the protocol is cut
off, and the guard ends with the sftp server.`,
				Options: &guardOptions, Action: cli.Action{Operands: "DIR", Min: 1, Max: 1, Run: runGuard}},
			{Name: "held", Summary: "Say whether the lock NAME is still held under which this command runs.",
				Action: cli.Action{Operands: "NAME", Min: 1, Max: 1, Run: runHeld}},
			{Name: "keep", Summary: "Renew a lease until standard input ends; lock starts this.",
				Options: &keepOptions, Action: cli.Action{Operands: "NAME LEASE", Min: 2, Max: 2, Run: runKeep}},
		},
	})
}
