package tracer

import (
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A program is interrupted at the call that was asked for, those of programs it
// starts do not count, and what it had said by then is there.
func TestRun(t *testing.T) {
	const script = "echo 1; (echo 2; echo 3); echo 4"
	for _, c := range []struct {
		at     Interruption
		status int
		said   string
		hit    bool
	}{
		{Interruption{}, 0, "1 2 3 4", false},
		{Interruption{Call: unix.SYS_WRITE, Nth: 1}, 137, "", true},
		{Interruption{Call: unix.SYS_WRITE, Nth: 2}, 137, "1 2 3", true},
		{Interruption{Call: unix.SYS_WRITE, Nth: 3}, 0, "1 2 3 4", false},
		{Interruption{Call: unix.SYS_WRITE, Nth: 2, Errno: unix.EIO}, 1, "1 2 3", true},
	} {
		for launchers, argv := range [][]string{{"sh", "-c", script}, {"env", "sh", "-c", script}} {
			cmd := exec.Command(argv[0], argv[1:]...)
			var out strings.Builder
			cmd.Stdout = &out
			res, err := Run(cmd, launchers, c.at)
			if err != nil {
				t.Fatal(err)
			}
			if said := strings.Join(strings.Fields(out.String()), " "); res.Status != c.status || res.Hit != c.hit || said != c.said {
				t.Errorf("%+v, %d: status %d, %q, hit %v; want %+v", c.at, launchers, res.Status, said, res.Hit, c)
			}
			if n := res.Calls[unix.SYS_WRITE]; c.status == 0 && n != 2 {
				t.Errorf("%+v: %d writes", c.at, n)
			}
		}
	}
}
