// Network stands before a server on this machine, so that it seems to be far
// away. It is a part of bench/run, and ends when it is killed.
//
//	network -at HOST:PORT -to HOST:PORT -trip 20ms
package main

import (
	"flag"
	"fmt"
	"os"

	"pgpipes/test/network"
)

func main() {
	at := flag.String("at", "", "listen at `HOST:PORT`")
	to := flag.String("to", "", "the server is at `HOST:PORT`")
	trip := flag.Duration("trip", 0, "how long a round trip takes")
	flag.Parse()
	p, err := network.Start(*at, *to)
	if err != nil {
		fmt.Fprintf(os.Stderr, "network: %v\n", err)
		os.Exit(1)
	}
	p.Set(network.Weather{Delay: *trip / 2})
	select {}
}
