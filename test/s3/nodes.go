package s3

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// Address is where nodes listen. It has to be there, and to be no loopback's:
// they want to be on a network.
const Address = "10.77.0.1"

// Nodes are four MinIO that make one server. It needs two of them to read, and
// three to write.
type Nodes struct {
	dir, path string
	t         testing.TB
	cmd       [4]*exec.Cmd // nil for one that does not run
}

// BuildNodes builds their program if need be, and returns its path. It needs the
// machine's network.
func BuildNodes(t testing.TB) string {
	t.Helper()
	path, err := install("minio")
	if err != nil {
		t.Fatalf("test/s3/install minio: %v", err)
	}
	return path
}

// StartNodes starts all four, with an empty bucket. It wants a network of its
// own, as ports are always the same.
func StartNodes(t testing.TB, bucket string) *Nodes {
	t.Helper()
	n := &Nodes{dir: t.TempDir(), path: BuildNodes(t), t: t}
	t.Cleanup(func() {
		for i := range n.cmd {
			n.Kill(i)
		}
	})
	for i := range n.cmd {
		n.Run(i)
	}
	n.Healthy()
	c, err := minio.New(n.addr(0), &minio.Options{Creds: credentials.NewStaticV4(Access, Secret, ""), Region: region})
	if err == nil {
		err = c.MakeBucket(t.Context(), bucket, minio.MakeBucketOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (n *Nodes) addr(i int) string { return fmt.Sprintf("%s:%d", Address, 9001+i) }

// Location is a location at one of the nodes.
func (n *Nodes) Location(i int, path string) string { return location(n.addr(i), path) }

// Run starts a node.
func (n *Nodes) Run(i int) {
	n.t.Helper()
	args := []string{"server", "--quiet", "--address", n.addr(i)}
	for j := range n.cmd {
		args = append(args, "http://"+n.addr(j)+filepath.Join(n.dir, fmt.Sprint(j)))
	}
	n.cmd[i] = exec.Command(n.path, args...)
	n.cmd[i].Env = append(os.Environ(), "HOME="+n.dir, "MINIO_ROOT_USER="+Access, "MINIO_ROOT_PASSWORD="+Secret, "MINIO_CI_CD=1")
	if err := n.cmd[i].Start(); err != nil {
		n.t.Fatal(err)
	}
}

// Kill ends a node as a power cut does. It does nothing if it does not run.
func (n *Nodes) Kill(i int) {
	if n.cmd[i] == nil {
		return
	}
	n.cmd[i].Process.Kill()
	n.cmd[i].Wait()
	n.cmd[i] = nil
}

// Healthy waits until every node that runs says that all can be read and written.
func (n *Nodes) Healthy() {
	n.t.Helper()
	for i := range n.cmd {
		for deadline := time.Now().Add(time.Minute); n.cmd[i] != nil; time.Sleep(100 * time.Millisecond) {
			r, err := http.Get("http://" + n.addr(i) + "/minio/health/cluster")
			if err == nil {
				r.Body.Close()
			}
			if err == nil && r.StatusCode == http.StatusOK {
				break
			}
			if time.Now().After(deadline) {
				n.t.Fatalf("node %d is not healthy: %v", i, err)
			}
		}
	}
}
