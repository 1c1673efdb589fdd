package model

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// children are the processes that somebody here waits for.
var (
	children = map[int]bool{}
	starting sync.Mutex
)

func start(cmd *exec.Cmd) error {
	starting.Lock()
	defer starting.Unlock()
	err := cmd.Start()
	if err == nil {
		children[cmd.Process.Pid] = true
	}
	return err
}

func ended(cmd *exec.Cmd) {
	starting.Lock()
	defer starting.Unlock()
	delete(children, cmd.Process.Pid)
}

// adopted lists the children that nobody waits for: those that programs have
// left behind. Those that have ended are buried.
func adopted() (pids []int) {
	starting.Lock()
	defer starting.Unlock()
	tasks, _ := os.ReadDir("/proc/self/task")
	for _, task := range tasks {
		list, _ := os.ReadFile("/proc/self/task/" + task.Name() + "/children")
		for field := range strings.FieldsSeq(string(list)) {
			pid, err := strconv.Atoi(field)
			if err != nil || children[pid] {
				continue
			}
			if got, err := unix.Wait4(pid, nil, unix.WNOHANG, nil); err == nil && got == 0 {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// lingering is how long a program's process may live on after the program.
const lingering = 20 * time.Second

// alone waits until no process of the world is left, but for the orphans.
func (w *world) alone() {
	for deadline := time.Now().Add(lingering); ; time.Sleep(5 * time.Millisecond) {
		mine := w.processes()
		if len(mine) == 0 {
			return
		}
		if time.Now().After(deadline) {
			w.fail("left running: %v", mine)
		}
	}
}

// processes describes those that were left behind in this world.
func (w *world) processes() (found []string) {
	for _, pid := range adopted() {
		environment, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if strings.Contains(string(environment), w.dir) {
			arguments, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			found = append(found, fmt.Sprint(pid, " ", strings.ReplaceAll(string(arguments), "\x00", " ")))
		}
	}
	return found
}
