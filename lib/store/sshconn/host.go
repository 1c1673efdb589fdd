// Package sshconn makes ssh connections as users of ssh expect them: to the
// host that their configuration means, with their keys and their agent, and to
// nobody whose key is not known.
//
// What a name means is asked of ssh itself (ssh -G), so that every setting
// means what it means there. Used are HostName, User, Port, HostKeyAlias,
// IdentityFile, IdentitiesOnly, IdentityAgent, CertificateFile (only beside its
// key), UserKnownHostsFile, GlobalKnownHostsFile, StrictHostKeyChecking,
// ProxyJump, ProxyCommand, ConnectTimeout, ServerAliveInterval and
// ServerAliveCountMax. An IdentityFile may be the public half of a key that an
// agent holds. Where there is no ssh, its usual defaults hold.
package sshconn

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A Host is where a connection shall go, and how.
type Host struct {
	Name           string // as the user wrote it
	HostName       string // address or name to connect to
	Port           string
	User           string
	Alias          string   // the name under which its key is known, if that is another
	Identities     []string // files of private keys
	IdentitiesOnly bool
	Agent          string   // socket of the agent, "" for none
	KnownHosts     []string // files
	AcceptNew      bool     // keys of unknown hosts are taken and remembered
	Jump           string   // [user@]host[:port] to go through, several with commas
	way            []string // the hosts for which it is gone through, and how
	ProxyCommand   string
	ConnectTimeout time.Duration // 0 for no bound of its own
	Alive          time.Duration // between questions whether the host is still there
	AliveMax       int           // how many may stay without an answer
}

// Address is what is dialled.
func (h Host) Address() string { return net.JoinHostPort(h.HostName, h.Port) }

// known is the name and port under which the key of the host is looked up.
func (h Host) known() string {
	if h.Alias != "" {
		return net.JoinHostPort(h.Alias, "22") // ssh takes an alias as it is, without the port
	}
	return h.Address()
}

const (
	defaultAlive    = 15 * time.Second
	defaultAliveMax = 3
)

// Resolve asks ssh what a name means. user and port, if not empty, are the
// user's own. config, if not empty, is a file of settings in place of the usual
// ones.
func Resolve(ctx context.Context, name, login, port, config string) (Host, error) {
	if name == "" || name[0] == '-' {
		return Host{}, fmt.Errorf("ssh: %q is not a host", name)
	}
	own, err := user.Current()
	if err != nil {
		return Host{}, err
	}
	settings, err := ask(ctx, name, login, port, config)
	if errors.Is(err, exec.ErrNotFound) {
		settings, err = unasked(own.HomeDir, config)
	}
	if err != nil {
		return Host{}, err
	}
	h := Host{
		Name: name, HostName: cmp.Or(settings.first("hostname"), name),
		User: cmp.Or(login, settings.first("user"), own.Username), Port: cmp.Or(port, settings.first("port"), "22"),
		Alias: settings.first("hostkeyalias"), Jump: settings.chosen("proxyjump"), ProxyCommand: settings.chosen("proxycommand"),
		IdentitiesOnly: settings.first("identitiesonly") == "yes",
		AcceptNew:      settings.first("stricthostkeychecking") == "accept-new",
		Agent:          agentSocket(settings.first("identityagent")),
		ConnectTimeout: settings.seconds("connecttimeout", 0),
		Alive:          settings.seconds("serveraliveinterval", defaultAlive),
	}
	if h.AliveMax, err = strconv.Atoi(settings.first("serveralivecountmax")); err != nil || h.AliveMax < 1 {
		h.AliveMax = defaultAliveMax
	}
	for _, file := range settings["identityfile"] {
		file = variable.ReplaceAllStringFunc(h.filledIn(atHome(own.HomeDir, file)), func(name string) string { return os.Getenv(name[2 : len(name)-1]) })
		h.Identities = append(h.Identities, file)
	}
	for _, key := range []string{"userknownhostsfile", "globalknownhostsfile"} {
		for _, file := range strings.Fields(settings.first(key)) {
			h.KnownHosts = append(h.KnownHosts, atHome(own.HomeDir, file))
		}
	}
	return h, nil
}

// settings are those of ssh, keys in lower case.
type settings map[string][]string

func (s settings) first(key string) string {
	if len(s[key]) == 0 {
		return ""
	}
	return s[key][0]
}

// chosen is a setting of which none means that there is no such thing.
func (s settings) chosen(key string) string {
	if value := s.first(key); value != "none" {
		return value
	}
	return ""
}

// seconds is a setting that counts them; 0, none and nothing are the default.
func (s settings) seconds(key string, otherwise time.Duration) time.Duration {
	n, err := strconv.Atoi(s.first(key))
	if err != nil || n <= 0 {
		return otherwise
	}
	return time.Duration(n) * time.Second
}

// leftOpen is how long the answer of a program that has ended may be late: others
// may hold the other end of its pipe.
const leftOpen = 5 * time.Second

// ask runs ssh -G, which prints a line for every setting and connects nowhere.
func ask(ctx context.Context, name, login, port, config string) (settings, error) {
	argv := []string{"-G"}
	for option, value := range map[string]string{"-l": login, "-p": port, "-F": config} {
		if value != "" {
			argv = append(argv, option, value)
		}
	}
	c := exec.CommandContext(ctx, "ssh", append(argv, name)...)
	var said bytes.Buffer
	c.Stderr, c.WaitDelay = &said, leftOpen
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Match exec has children
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	out, err := c.Output()
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		if text := strings.TrimSpace(said.String()); text != "" {
			err = fmt.Errorf("ssh -G %s: %s", name, text)
		}
		return nil, err
	}
	s := settings{}
	for line := range strings.Lines(string(out)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		s[key] = append(s[key], value)
	}
	return s, nil
}

// unasked are the settings where there is no ssh to ask. Nobody else can read a
// configuration.
func unasked(home, config string) (settings, error) {
	if _, err := os.Stat(home + "/.ssh/config"); err == nil && config == "" {
		config = home + "/.ssh/config"
	}
	if config != "" && config != "none" {
		return nil, fmt.Errorf("%s: it takes ssh to read it, and that is not on PATH", config)
	}
	return usual(home), nil
}

// usual are ssh's defaults as far as they matter here.
func usual(home string) settings {
	return settings{
		"identityfile":         {home + "/.ssh/id_rsa", home + "/.ssh/id_ecdsa", home + "/.ssh/id_ed25519"},
		"userknownhostsfile":   {home + "/.ssh/known_hosts " + home + "/.ssh/known_hosts2"},
		"globalknownhostsfile": {"/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"},
	}
}

func atHome(home, path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		return filepath.Join(home, rest)
	}
	return path
}

// agentSocket is the path that IdentityAgent means.
func agentSocket(setting string) string {
	switch {
	case setting == "none":
		return ""
	case setting == "" || setting == "SSH_AUTH_SOCK":
		return os.Getenv("SSH_AUTH_SOCK")
	case setting[0] == '$':
		return os.Getenv(strings.Trim(setting[1:], "{}"))
	}
	return setting
}

// variable is one of the environment in a setting.
var variable = regexp.MustCompile(`\$\{\w+\}`)

// filledIn puts in what ssh leaves open in some settings when it is asked for
// them (ssh_config(5), TOKENS).
func (h Host) filledIn(text string) string {
	here, _ := os.Hostname()
	short, _, _ := strings.Cut(here, ".")
	own, err := user.Current()
	if err != nil {
		own = &user.User{}
	}
	return strings.NewReplacer("%%", "%", "%h", h.HostName, "%p", h.Port, "%r", h.User, "%n", h.Name, "%k", cmp.Or(h.Alias, h.HostName),
		"%d", own.HomeDir, "%u", own.Username, "%i", own.Uid, "%l", here, "%L", short).Replace(text)
}
