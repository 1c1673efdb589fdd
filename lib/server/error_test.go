package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

func TestHints(t *testing.T) {
	dial := func(err error) error {
		return &net.OpError{Op: "dial", Net: "unix", Err: os.NewSyscallError("connect", err)}
	}
	pg := func(code, hint string) error { return &pgconn.PgError{Code: code, Message: "m", Hint: hint} }
	tests := []struct {
		name, call string
		err        error
		target     target
		want       string // part of the hint; "" for none
	}{
		{"no socket", "connect", dial(syscall.ENOENT), target{}, "PGHOST"},
		{"no listener", "connect", dial(syscall.ECONNREFUSED), target{}, "PGPORT"},
		{"closed socket", "connect", dial(syscall.EACCES), target{}, "unix_socket_permissions"},
		{"no route", "connect", dial(syscall.EHOSTUNREACH), target{}, "network"},
		{"one of several", "connect", errors.Join(errors.New("x"), dial(syscall.ENOENT)), target{}, "PGHOST"},
		{"cancelled", "connect", context.Canceled, target{}, ""},
		{"grant in 14", "pg_start_backup", pg("42501", ""), target{user: `a"b`, database: "d", major: 14},
			`as a superuser in database d: GRANT EXECUTE ON FUNCTION pg_start_backup(text, boolean, boolean), pg_stop_backup(boolean, boolean) TO "a""b"`},
		{"grant in 15", "pg_backup_stop", pg("42501", ""), target{user: "u", database: "d", major: 15},
			`GRANT EXECUTE ON FUNCTION pg_backup_start(text, boolean), pg_backup_stop(boolean) TO "u"`},
		{"other right", "pg_stat_archiver", pg("42501", ""), target{major: 15}, ""},
		{"minimal", "pg_backup_start", pg("55000", "h"), target{walLevel: "minimal"}, "wal_level is minimal"},
		{"server's own", "pg_backup_start", pg("55000", "do\nthis"), target{walLevel: "replica"}, "do; this"},
		{"password", "connect", pg("28P01", ""), target{user: "u"}, "the role is u"},
		{"no hba line", "connect", pg("28000", ""), target{}, "pg_hba.conf"},
		{"no database", "connect", pg("3D000", ""), target{}, "PGDATABASE"},
		{"starting", "connect", pg("57P03", ""), target{}, "try again"},
		{"full", "connect", pg("53300", ""), target{}, "max_connections"},
		{"anything", "pg_backup_start", pg("XX000", ""), target{major: 15}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := hint(test.call, fmt.Errorf("wrapped: %w", test.err), test.target)
			if !strings.Contains(got, test.want) || (test.want == "" && got != "") {
				t.Errorf("hint %q, want %q", got, test.want)
			}
		})
	}
}

func TestErrorText(t *testing.T) {
	tests := []struct {
		err  error
		want string
	}{
		{&pgconn.PgError{Severity: "ERROR", Code: "42501", Message: "permission denied", Detail: "not\nyou"}, "c: permission denied: not; you (SQLSTATE 42501)"},
		{errors.New("failed:\n\ta\n\tb\n\ta"), "c: failed: a; b"},
		{fmt.Errorf("lock: %w", pgconn.ErrConnClosed), "c: the session is closed"},
	}
	for _, test := range tests {
		if got := (&Error{Call: "c", Err: test.err}).Error(); got != test.want {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
}

func TestMajorOf(t *testing.T) {
	for _, number := range []int{130000, 130023, 150018, 180006} {
		if major, err := majorOf(number); err != nil || major != number/10000 {
			t.Errorf("%d: %d, %v", number, major, err)
		}
	}
	for _, number := range []int{0, 90624, 120022, 190000, 1000000} {
		if _, err := majorOf(number); !errors.Is(err, ErrVersion) {
			t.Errorf("%d: %v", number, err)
		}
	}
}

func TestArchiveCommand(t *testing.T) {
	tests := []struct {
		mode             string
		command, library []byte
		want             Truth
	}{
		{"off", []byte("(disabled)"), nil, No},
		{"on", []byte("wal-push %p"), nil, Yes},
		{"on", []byte(""), []byte("basic_archive"), Yes},
		{"always", []byte(""), []byte(""), No},
		{"on", []byte(""), nil, No},
		{"on", nil, nil, Unknown},
		{"off", nil, nil, No},
	}
	for _, test := range tests {
		if got := archiveCommand(test.mode, test.command, test.library); got != test.want {
			t.Errorf("%+v: %v", test, got)
		}
	}
}
