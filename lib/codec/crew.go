package codec

import "sync"

// A task is one piece of a stream on its way from one form to the other. The
// buffers stay with it from one use to the next.
type task struct {
	in, out []byte
	err     error
	done    chan struct{}
}

// A crew works on tasks in parallel and hands them back in the order in which
// they were given. Its goroutines live only as long as there are tasks, so a
// crew that is forgotten leaves nothing behind. Only stop may be called while
// another goroutine uses the crew.
type crew struct {
	hire  func() func(*task)
	desks chan func(*task) // one entry a worker; nil until its first task
	queue []*task          // given and not yet taken, oldest first
	spare []*task
	most  int  // how many tasks are given before one is taken
	alone bool // the goroutine that takes a task does the work

	mu      sync.Mutex // guards stopped, and working against being added to after it
	stopped bool
	working sync.WaitGroup
}

// newCrew makes a crew of so many workers. hire is called for each of them
// when there is first work for it, and returns what it does with a task.
func newCrew(workers int, hire func() func(*task)) *crew {
	c := &crew{hire: hire, desks: make(chan func(*task), workers), most: workers + 1}
	for range workers {
		c.desks <- nil
	}
	return c
}

// blank returns an unused task with empty buffers.
func (c *crew) blank() *task {
	last := len(c.spare) - 1
	if last < 0 {
		return &task{done: make(chan struct{}, 1)}
	}
	t := c.spare[last]
	c.spare = c.spare[:last]
	t.in, t.out, t.err = t.in[:0], t.out[:0], nil
	return t
}

// withoutCrew has the tasks done one by one, each when it is taken, by who takes it:
// that needs no goroutine, and what comes out is still in the caches of its core.
func (c *crew) withoutCrew() { c.alone, c.most = true, 1 }

// give puts a task in the queue.
func (c *crew) give(t *task) {
	c.queue = append(c.queue, t)
	if !c.alone && c.begin(t) {
		go c.work(t)
	}
}

// begin counts a task that is to be worked on, and fails it if that is too late.
func (c *crew) begin(t *task) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		t.err = errClosed
		t.done <- struct{}{}
		return false
	}
	c.working.Add(1)
	return true
}

func (c *crew) work(t *task) {
	defer c.working.Done()
	do := <-c.desks
	if do == nil {
		do = c.hire()
	}
	do(t)
	c.desks <- do
	t.done <- struct{}{}
}

// full says that no task should be given before one was taken. By itself there
// is one for every worker and one to follow.
func (c *crew) full() bool { return len(c.queue) >= c.most }

// idle says that every task was taken.
func (c *crew) idle() bool { return len(c.queue) == 0 }

// ready says that the oldest task is done, so that take does not wait.
func (c *crew) ready() bool { return len(c.queue) > 0 && (c.alone || len(c.queue[0].done) > 0) }

// take waits for the oldest task and removes it from the queue.
func (c *crew) take() *task {
	t := c.queue[0]
	if c.alone && c.begin(t) {
		c.work(t)
	}
	<-t.done
	c.queue = append(c.queue[:0], c.queue[1:]...)
	return t
}

// recycle makes a task's buffers available to blank.
func (c *crew) recycle(t *task) { c.spare = append(c.spare, t) }

// stop waits for the work at hand and has every later task fail.
func (c *crew) stop() {
	c.mu.Lock()
	c.stopped = true
	c.mu.Unlock()
	c.working.Wait()
}
