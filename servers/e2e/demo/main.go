// Command demo shows the running bundle at work: a policy check that fails and one that passes, a call that is
// refused, and the evidence of all three. It needs no model and no internet.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"
)

const patience = 30 * time.Second

func main() {
	d := demo{out: os.Stdout}
	flag.StringVar(&d.url, "url", "http://127.0.0.1:4000/mcp", "the gateway, through door")
	flag.StringVar(&d.secrets, "secrets", "secrets", "the folder that make secrets made")
	flag.Parse()
	d.compose = flag.Args() // the compose command of the bundle; default docker compose
	if len(d.compose) == 0 {
		d.compose = []string{"docker", "compose"}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	err := d.run(ctx)
	cancel()
	if err != nil {
		fmt.Fprintf(os.Stderr, "demo: %v\n", err)
		os.Exit(1)
	}
}
