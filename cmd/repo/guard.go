package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"pgpipes/lib/cli"
	"pgpipes/lib/guard"
)

var guardOptions struct {
	Server string `long:"server" value-name:"FILE" description:"the sftp server behind the guard; by default OpenSSH's"`
}

// sftpServers are where systems keep OpenSSH's.
var sftpServers = []string{"/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/lib/ssh/sftp-server", "/usr/libexec/sftp-server"}

// runGuard is the command of an account that may only add to a repository.
func runGuard(_ context.Context, p *cli.Process, operands []string) error {
	root, err := filepath.Abs(operands[0])
	if err != nil {
		return err
	}
	program, err := sftpServer()
	if err != nil {
		return err
	}
	server := exec.Command(program)
	server.Dir, server.Stderr = root, p.Err
	in, err1 := server.StdinPipe()
	out, err2 := server.StdoutPipe()
	if err := errors.Join(err1, err2, server.Start()); err != nil {
		return err
	}
	err = guard.Run(root, p.In, p.Out, in, out)
	if err != nil {
		server.Process.Kill()
	}
	if werr := server.Wait(); err == nil {
		err = werr
	}
	return err
}

func sftpServer() (string, error) {
	if guardOptions.Server != "" {
		return guardOptions.Server, nil
	}
	for _, path := range sftpServers {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", cli.Hint(cli.Mistake(fmt.Errorf("no sftp server in any of %q", sftpServers)), "give --server FILE")
}
