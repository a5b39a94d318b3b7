// Command demo tells, in a bundle of its own, what Bulkhead is for: `make demo`. It needs no model and no internet, and leaves
// nothing behind. README.md is its manual.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const whole = 10 * time.Minute // of everything, on a slow machine

func main() {
	asJSON := flag.Bool("json", false, "print what happened as one JSON object")
	images := flag.String("images", "", "the `file` that names the images (default .env, which make images writes)")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "usage: demo [-json] [-images FILE]")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(ctx, whole)
	t := &teller{out: os.Stdout}
	if *asJSON {
		t.out = io.Discard
	}
	err := tell(ctx, t, *images)
	cancel()
	stop()
	if *asJSON {
		encoder := json.NewEncoder(os.Stdout)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		_ = encoder.Encode(map[string]any{"ok": err == nil, "steps": t.Steps})
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "demo: %v\n", err)
		os.Exit(1)
	}
}
