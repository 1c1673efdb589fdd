package server

import (
	"errors"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sys/unix"
)

const (
	keepalive = 15 * time.Second // the pause before a keepalive, and between two
	lostAfter = time.Minute      // a server that has not acknowledged anything for so long is lost
)

// dial opens connections that notice when the other end is gone. While a
// connection is idle, keepalives find that out; while something that was sent
// has not been acknowledged there are none, and the system would go on sending
// for a quarter of an hour (tcp(7), TCP_USER_TIMEOUT).
func dial(timeout time.Duration) pgconn.DialFunc {
	dialer := net.Dialer{
		Timeout: timeout,
		KeepAliveConfig: net.KeepAliveConfig{
			Enable: true, Idle: keepalive, Interval: keepalive, Count: int(lostAfter / keepalive),
		},
		Control: func(network, _ string, c syscall.RawConn) error {
			if !strings.HasPrefix(network, "tcp") {
				return nil
			}
			var failed error
			err := c.Control(func(fd uintptr) {
				failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(lostAfter.Milliseconds()))
			})
			return errors.Join(err, failed)
		},
	}
	return dialer.DialContext
}
