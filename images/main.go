// Images makes the container images of every server: for this machine's engine, or as a release that can be verified.
//
//	images load    [--env FILE] [--test] [--version VERSION] [NAME…]   build, load into the engine, and write the ids to FILE
//	images ids     [--test] [--version VERSION] [NAME…]                build, and print the ids; needs no engine
//
//	images build   [--version VERSION] [--base REF@DIGEST] [--dist DIR]   build a release from the commit that is checked out
//	images publish --registry REGISTRY [--dist DIR]                       push it, and write what starts it
//	images sign    [--key KEY] [--dist DIR]                               sign it and attest SBOM and provenance, with cosign
//	images verify  [--key FILE | --identity REGEXP --issuer URL] REF…     check what somebody else has released
//	images verify  … --release DIR                                        the same for a whole release, and its files
//	images rebuild [--release DIR]                                        build a release again from its commit, and compare
//
// Nothing is pulled but a base that --base names. base.go makes the base image, licences.go finds the texts that belong in
// it, and recipe.go puts a server on it with ko's library: all verbs that build meet there. source.go knows the commit,
// release.go the folder of a release, provenance.go what is said of one, cosign.go the tool; each verb has a file of its
// name. What an image's id depends on is said in README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	log.SetOutput(io.Discard) // ko narrates through the standard logger; what matters comes back as an error
	for _, variable := range []string{"GOOS", "GOARCH", "KOCACHE"} {
		_ = os.Unsetenv(variable) // ko would build for these instead of the platform, and reuse what it did not build
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "images: %v\n", err)
		os.Exit(1)
	}
}

// verb is one thing that the program does. It declares its flags, and returns what to do once they are parsed.
type verb struct {
	name     string
	anywhere bool // may run outside a checkout
	flags    func(*flag.FlagSet) func(ctx context.Context, c call) error
}

// call is what every verb is run with.
type call struct {
	root   string   // of the repository; empty outside one
	args   []string // what is left after the flags
	stdout io.Writer
}

func verbs() []verb {
	return []verb{
		{name: "load", flags: loadVerb},
		{name: "ids", flags: idsVerb},
		{name: "build", flags: buildVerb},
		{name: "publish", flags: publishVerb},
		{name: "sign", flags: signVerb},
		{name: "verify", flags: verifyVerb, anywhere: true},
		{name: "rebuild", flags: rebuildVerb},
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var names []string
	for _, v := range verbs() {
		if len(args) == 0 || v.name != args[0] {
			names = append(names, v.name)
			continue
		}
		flags := flag.NewFlagSet("images "+v.name, flag.ContinueOnError)
		flags.SetOutput(stderr)
		do := v.flags(flags)
		if err := flags.Parse(args[1:]); errors.Is(err, flag.ErrHelp) {
			return nil
		} else if err != nil {
			return err
		}
		root, err := findRoot()
		if err != nil && !v.anywhere {
			return err
		}
		return do(ctx, call{root: root, args: flags.Args(), stdout: stdout})
	}
	return fmt.Errorf("say what to do: images with one of %v", names)
}
