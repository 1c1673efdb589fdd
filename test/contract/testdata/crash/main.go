// Crash ends in the ways in which a program with a mistake ends.
package main

import (
	"context"

	"pgpipes/lib/cli"
)

func main() {
	cli.Main(cli.Program{Name: "crash", Summary: "Crash.", Action: cli.Action{Operands: "KIND", Min: 1, Max: 1, Run: run}, Failure: 254})
}

func run(_ context.Context, _ *cli.Process, operands []string) error {
	var nowhere *int
	var none map[int]int
	empty := []int{}
	switch operands[0] {
	case "panic":
		panic("a mistake")
	case "nil-pointer":
		*nowhere = 1
	case "range":
		empty[len(operands)] = 1
	case "nil-map":
		done := make(chan int)
		go func() { none[1] = 1; close(done) }()
		<-done
	case "stack":
		deep(1)
	case "concurrent-map":
		shared := map[int]int{}
		for range 4 {
			go func() {
				for i := 0; ; i++ {
					shared[i%8] = i
				}
			}()
		}
		select {}
	}
	return nil
}

func deep(n int) int { return n + deep(n+1) }
