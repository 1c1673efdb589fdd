package sshconn_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgpipes/lib/store/sshconn"
	"pgpipes/test/sshd"
)

// A host is an sshd and what its user has.
type host struct {
	*sshd.Server
	t    *testing.T
	port string
}

func start(t *testing.T, settings ...string) *host {
	t.Helper()
	t.Parallel()
	s := sshd.Start(t, settings...)
	return &host{s, t, strconv.Itoa(s.Port)}
}

// settings are those of a user who has the key and knows the host.
func (h *host) settings() []string {
	return append(h.place(), "IdentityFile "+h.Path("user"), "UserKnownHostsFile "+h.Path("known"))
}

// place is where the host is, and nothing else of the user's counts.
func (h *host) place() []string {
	own, err := user.Current()
	if err != nil {
		h.t.Fatal(err)
	}
	return []string{
		"HostName 127.0.0.1", "Port " + h.port, "User " + own.Username, "GlobalKnownHostsFile /dev/null",
		"IdentitiesOnly yes", "IdentityAgent none", "HostKeyAlias " + sshd.Name,
	}
}

// dial connects with settings, of which the first of a kind counts.
func (h *host) dial(settings ...string) error {
	h.t.Helper()
	h.Write("config", "Host "+sshd.Name+"\n"+strings.Join(settings, "\n")+"\n")
	ctx, cancel := context.WithTimeoutCause(context.Background(), 20*time.Second, fmt.Errorf("it hangs"))
	defer cancel()
	var said strings.Builder
	to, err := sshconn.Resolve(ctx, sshd.Name, "", "", h.Config)
	if err != nil {
		return err
	}
	c, err := sshconn.Dial(ctx, to, h.Config, func(text string) { said.WriteString(text) })
	if err != nil {
		return fmt.Errorf("%w (%s)", err, said.String())
	}
	session, err := c.NewSession()
	if err != nil {
		h.t.Error(err)
	} else if out, err := session.Output("echo here"); err != nil || string(out) != "here\n" {
		h.t.Errorf("%q, %v", out, err)
	}
	return c.Close()
}

// connects fails the test unless dial succeeds.
func (h *host) connects(what string, settings ...string) {
	h.t.Helper()
	if err := h.dial(settings...); err != nil {
		h.t.Errorf("%s: %v", what, err)
	}
}

// refuses fails the test unless dial ends in an error that says all texts.
func (h *host) refuses(what string, settings []string, says ...string) {
	h.t.Helper()
	err := h.dial(settings...)
	for _, text := range says {
		if err == nil || !strings.Contains(err.Error(), text) {
			h.t.Errorf("%s: error %v, want one with %q", what, err, text)
		}
	}
}

func (h *host) read(name string) string {
	h.t.Helper()
	b, err := os.ReadFile(h.Path(name))
	if err != nil {
		h.t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

func run(t *testing.T, argv ...string) string {
	t.Helper()
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v\n%s", argv, err, out)
	}
	return string(out)
}

// newKey makes a key of a kind in a file.
func newKey(t *testing.T, kind, path, phrase string) {
	t.Helper()
	run(t, "ssh-keygen", "-q", "-t", kind, "-N", phrase, "-f", path)
}

// first puts settings before those of a list.
func first(list []string, settings ...string) []string { return append(settings, list...) }

// A host with several keys is asked for one that is known.
func TestOneOfSeveralHostKeys(t *testing.T) {
	dir := t.TempDir()
	var settings []string
	for _, kind := range []string{"rsa", "ecdsa"} {
		newKey(t, kind, filepath.Join(dir, kind), "")
		settings = append(settings, "HostKey "+filepath.Join(dir, kind))
	}
	h := start(t, settings...)
	h.connects("ed25519", h.settings()...)
	for _, kind := range []string{"rsa", "ecdsa"} {
		public, err := os.ReadFile(filepath.Join(dir, kind+".pub"))
		if err != nil {
			t.Fatal(err)
		}
		h.Write("known", sshd.Name+" "+string(public))
		h.connects(kind, h.settings()...)
	}
}

func TestKnownHosts(t *testing.T) {
	h := start(t)
	key := h.read("host.pub")
	at := "[127.0.0.1]:" + h.port
	nameless := func(list []string) []string { return list[:6] } // no alias: the address counts
	files := func(names ...string) []string {
		list := append(nameless(h.place()), "IdentityFile "+h.Path("user"), "UserKnownHostsFile")
		for _, name := range names {
			list[len(list)-1] += " " + h.Path(name)
		}
		return list
	}
	h.Write("port", at+" "+key+"\n")
	h.connects("address and port", files("port")...)
	h.Write("noport", "127.0.0.1 "+key+"\n")
	h.refuses("another port", files("noport"), "is not known")
	h.Write("pattern", "*.example.org,[127.0.0.*]:"+h.port+" "+key+"\n")
	h.connects("a pattern", files("pattern")...)
	h.Write("hashed", at+" "+key+"\n")
	run(t, "ssh-keygen", "-q", "-H", "-f", h.Path("hashed"))
	if text := h.read("hashed"); !strings.HasPrefix(text, "|1|") {
		t.Fatal(text)
	}
	h.connects("hashed", files("hashed")...)
	h.Write("empty", "# nothing\n\n")
	h.connects("the second file", files("empty", "port")...)
	h.connects("the second file, no first", files("none", "port")...)
	h.refuses("in none of two", files("empty", "none"), "is not known", "SHA256:", "ssh "+sshd.Name)
	h.Write("revoked", at+" "+key+"\n@revoked * "+key+"\n")
	h.refuses("revoked", files("revoked"), "host key of "+sshd.Name, "revoked")
	h.refuses("revoked, for the curious", first(files("revoked"), "StrictHostKeyChecking accept-new"), "revoked")
	h.Write("other", at+" "+h.read("user.pub")+"\n")
	for _, checking := range []string{"yes", "accept-new", "ask", "no"} {
		h.refuses("changed, "+checking, first(files("other"), "StrictHostKeyChecking "+checking), "CHANGED", "ssh-keygen -R "+at)
	}
	for _, checking := range []string{"yes", "ask", "no"} {
		h.refuses("unknown, "+checking, first(files("empty"), "StrictHostKeyChecking "+checking), "is not known", "add it to known_hosts")
	}
	h.connects("accept-new", first(files("new/known"), "StrictHostKeyChecking accept-new")...)
	if got := h.read("new/known"); got != at+" "+strings.Join(strings.Fields(key)[:2], " ") {
		t.Errorf("remembered %q", got)
	}
	h.Write("cut", strings.TrimSpace("elsewhere "+h.read("user.pub")))
	h.connects("accept-new, after a line without its end", first(files("cut"), "StrictHostKeyChecking accept-new")...)
	h.connects("what was remembered after that", files("cut")...)
	h.connects("what was remembered", first(files("new/known"), "StrictHostKeyChecking yes")...)
	run(t, "ssh", "-F", h.Config, "-o", "BatchMode=yes", sshd.Name, "true")
	h.Write("noise", "no known host\n")
	h.refuses("a damaged file", files("noise"), "host key")
}

// Certificates of hosts are as good as who signed them.
func TestHostCertificates(t *testing.T) {
	dir := t.TempDir()
	key, signer := filepath.Join(dir, "key"), filepath.Join(dir, "signer")
	newKey(t, "ed25519", key, "")
	newKey(t, "ed25519", signer, "")
	run(t, "ssh-keygen", "-q", "-s", signer, "-h", "-I", "vault", "-n", sshd.Name, key+".pub")
	h := start(t, "HostKey "+key, "HostCertificate "+key+"-cert.pub")
	public, err := os.ReadFile(signer + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	h.Write("known", "@cert-authority "+sshd.Name+" "+string(public))
	h.connects("signed", h.settings()...)
	h.Write("known", "@cert-authority "+sshd.Name+" "+h.read("user.pub"))
	h.refuses("signed by another", h.settings(), "host key")
}

// agent runs a real one that holds keys, and returns its socket.
func agent(t *testing.T, keys ...string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "agent") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	c := exec.Command("ssh-agent", "-D", "-a", socket)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Process.Kill()
		c.Wait()
	})
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if conn, err := net.Dial("unix", socket); err == nil {
			conn.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no agent")
		}
	}
	for _, key := range keys {
		add := exec.Command("ssh-add", "-q", key)
		add.Env = append(os.Environ(), "SSH_AUTH_SOCK="+socket)
		if out, err := add.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", key, err, out)
		}
	}
	return socket
}

func TestKeysOfAgents(t *testing.T) {
	h := start(t, "MaxAuthTries 3")
	var strangers []string
	for i := range 4 {
		strangers = append(strangers, h.Path("stranger"+strconv.Itoa(i)))
		newKey(t, "ed25519", strangers[i], "")
	}
	holds, crowded := agent(t, h.Path("user")), agent(t, append(strangers, h.Path("user"))...)
	h.Write("half.pub", h.read("user.pub")+"\n")
	with := func(agent string, settings ...string) []string {
		return first(h.place(), append(settings, "IdentityAgent "+agent, "UserKnownHostsFile "+h.Path("known"))...)
	}
	h.connects("the agent's", with(holds, "IdentitiesOnly no", "IdentityFile /does/not/exist")...)
	h.connects("the agent's, named by its public half", with(crowded, "IdentityFile "+h.Path("half.pub"))...)
	h.connects("the agent's, its public half beside", with(crowded, "IdentityFile "+h.Path("half"))...)
	h.connects("one of many that is in a file, too", with(crowded, "IdentitiesOnly no", "IdentityFile "+h.Path("user"))...)
	h.refuses("one of too many", with(crowded, "IdentitiesOnly no", "IdentityFile /does/not/exist"), "vault", "Too many")
	h.refuses("another's than the file's", with(holds, "IdentityFile "+strangers[0]), "unable to authenticate")
	h.refuses("no agent, and half a key", with("none", "IdentityFile "+h.Path("half.pub")), "half.pub", "agent")
	h.refuses("an agent that is gone", with(h.Path("gone"), "IdentityFile "+h.Path("half.pub")), "agent", "gone")
}

// A key with a passphrase is for an agent; nobody is asked, nothing hangs.
func TestKeysWithPassphrase(t *testing.T) {
	h := start(t)
	newKey(t, "ed25519", h.Path("locked"), "secret phrase")
	h.Write("authorized", h.read("locked.pub")+"\n")
	os.Remove(h.Path("locked.pub"))
	locked := first(h.settings()[:7], "IdentityFile "+h.Path("locked"), "UserKnownHostsFile "+h.Path("known"))
	h.refuses("no agent", locked, h.Path("locked"), "passphrase", "ssh-add")
	opened := h.Path("opened")
	run(t, "cp", h.Path("locked"), opened)
	run(t, "ssh-keygen", "-q", "-p", "-P", "secret phrase", "-N", "", "-f", opened)
	h.connects("an agent holds it", first(locked, "IdentityAgent "+agent(t, opened))...)
	h.Write("garbage", "-----BEGIN OPENSSH PRIVATE KEY-----\nbm90aGluZw==\n-----END OPENSSH PRIVATE KEY-----\n")
	h.refuses("no key", first(h.settings()[:7], "IdentityFile "+h.Path("garbage"), "UserKnownHostsFile "+h.Path("known")), h.Path("garbage"))
}

// What ssh leaves open in a setting is filled in as it would.
func TestTokens(t *testing.T) {
	h := start(t)
	own, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	run(t, "cp", h.Path("user"), h.Path("127.0.0.1_"+h.port+"_"+own.Username+"_%"))
	h.connects("in a file of a key", first(h.settings()[:7], "IdentityFile "+h.Path("%h_%p_%r_%%"), "UserKnownHostsFile "+h.Path("known"))...)
}

func TestVariablesInSettings(t *testing.T) {
	t.Setenv("PGPIPES_TEST_KEY", "user")
	s := sshd.Start(t)
	h := &host{s, t, strconv.Itoa(s.Port)}
	h.connects("in a file of a key", first(h.settings()[:7], "IdentityFile "+h.Path("${PGPIPES_TEST_KEY}"), "UserKnownHostsFile "+h.Path("known"))...)
}

// ProxyJump leads through other hosts, each with settings and a key of its own.
func TestProxyJump(t *testing.T) {
	h := start(t)
	hop := sshd.Start(t, "LogLevel VERBOSE")
	known := "hop " + strings.TrimSpace(string(must(os.ReadFile(hop.Path("host.pub")))))
	h.Write("hop_known", known+"\n")
	at := func(name string, port int, knows string) []string {
		return []string{
			"Host " + name, "HostName 127.0.0.1", "Port " + strconv.Itoa(port), "HostKeyAlias hop", "IdentityFile " + hop.Path("user"),
			"IdentitiesOnly yes", "IdentityAgent none", "GlobalKnownHostsFile /dev/null", "UserKnownHostsFile " + h.Path(knows),
		}
	}
	jumps := func(through string, hops ...[]string) []string {
		list := append(h.settings(), "ProxyJump "+through)
		for _, settings := range hops {
			list = append(list, settings...)
		}
		return list
	}
	h.connects("through one", jumps("hop", at("hop", hop.Port, "hop_known"))...)
	if log := string(must(os.ReadFile(hop.Path("log")))); !strings.Contains(log, "Accepted publickey") {
		t.Errorf("not through the hop:\n%s", log)
	}
	h.connects("through two", jumps("hop,second", at("hop", hop.Port, "hop_known"), at("second", hop.Port, "hop_known"))...)
	h.connects("port in the jump", jumps("hop:"+strconv.Itoa(hop.Port), at("hop", 1, "hop_known"))...)
	h.refuses("a hop that is not known", jumps("hop", at("hop", hop.Port, "known")), sshd.Name+": hop: ", "host key of hop is not known")
	h.refuses("nobody at the hop", jumps("hop", at("hop", 1, "hop_known")), sshd.Name+": hop: ", "refused")
	h.refuses("nobody behind the hop", first(jumps("hop", at("hop", hop.Port, "hop_known")), "Port 1"), sshd.Name, "onnect")
	h.refuses("through itself", jumps(sshd.Name), "itself")
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

// A ProxyCommand is the way to the host; what it complains of is told.
func TestProxyCommand(t *testing.T) {
	h := start(t)
	hop := sshd.Start(t)
	h.connects("another ssh", first(h.settings(), "ProxyCommand ssh -F "+hop.Config+" -W %h:%p "+sshd.Name)...)
	h.refuses("it fails", first(h.settings(), "ProxyCommand echo no route to %n >&2; exit 3"), sshd.Name, "no route to "+sshd.Name)
	h.refuses("it is not there", first(h.settings(), "ProxyCommand /does/not/exist"), "/does/not/exist")
	begun := time.Now()
	h.refuses("it is silent", first(h.settings(), "ProxyCommand sleep 600", "ConnectTimeout 1"), "no connection within 1s")
	h.refuses("it closes its streams, and stays", first(h.settings(), "ProxyCommand sh -c 'exec >&- 2>&-; exec sleep 600'"), sshd.Name)
	if took := time.Since(begun); took > 15*time.Second {
		t.Errorf("it took %s", took)
	}
}

// ConnectTimeout bounds all until the login.
func TestConnectTimeout(t *testing.T) {
	h := start(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	silent := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	begun := time.Now()
	h.refuses("a silent host", first(h.settings(), "Port "+silent, "ConnectTimeout 1"), sshd.Name, "no connection within 1s")
	if took := time.Since(begun); took < time.Second || took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
}

// Settings that ssh has to work out cannot hold up anybody.
func TestSilentSettings(t *testing.T) {
	h := start(t)
	h.Write("config", "Match exec \"sleep 600\"\nPort 1\n")
	ctx, cancel := context.WithTimeoutCause(context.Background(), 200*time.Millisecond, fmt.Errorf("too late"))
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := sshconn.Resolve(ctx, sshd.Name, "", "", h.Config)
		done <- err
	}()
	select {
	case err := <-done:
		if err == nil || err.Error() != "too late" {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it hangs")
	}
}

// Without ssh nobody reads its configuration, and nothing is done as if there were
// none.
func TestResolveWithoutSSH(t *testing.T) {
	own, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", t.TempDir())
	_, plain := sshconn.Resolve(t.Context(), "h", "", "", "")
	if _, err := os.Stat(filepath.Join(own.HomeDir, ".ssh/config")); (err == nil) != (plain != nil) {
		t.Errorf("the usual settings: %v", plain)
	}
	if _, err := sshconn.Resolve(t.Context(), "h", "", "", "/some/config"); err == nil || !strings.Contains(err.Error(), "/some/config: it takes ssh to read it") {
		t.Error(err)
	}
}
