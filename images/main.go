// Images builds the container image of every server, and loads it into this machine's engine.
//
//	images load [--env FILE] [--test] [--version VERSION] [NAME…]   build, load, and write the ids to FILE
//	images ids  [--test] [--version VERSION] [NAME…]                build and print the ids; needs no engine
//
// Nothing is pulled: base.go makes the base image, build.go puts a server on it with ko's library, load.go hands it to the
// engine and envfile.go tells compose its id. What an image's id depends on is said in README.md.
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
	"path/filepath"
	"syscall"
)

func main() {
	log.SetOutput(io.Discard) // ko narrates through the standard logger; what matters comes back as an error
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "images: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 || args[0] != "load" && args[0] != "ids" {
		return errors.New("say what to do: images load or images ids")
	}
	verb := args[0]
	flags := flag.NewFlagSet("images "+verb, flag.ContinueOnError)
	flags.SetOutput(stderr)
	test := flags.Bool("test", false, "build the test-only images of servers/e2e too")
	version := flags.String("version", localVersion, "the version that binaries and labels tell")
	env := new(string)
	if verb == "load" {
		env = flags.String("env", "", "the `file` that gets the ids (default .env beside compose.yaml)")
	}
	if err := flags.Parse(args[1:]); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}

	root, err := findRoot()
	if err != nil {
		return err
	}
	servers, err := findServers(root)
	if err != nil {
		return err
	}
	if servers, err = choose(servers, flags.Args(), *test); err != nil {
		return err
	}
	if verb == "ids" {
		return ids(ctx, root, *version, servers, stdout)
	}
	if *env == "" {
		*env = filepath.Join(root, ".env")
	}
	return load(ctx, root, *version, servers, *env, stdout)
}

// ids prints the name and the id of each image.
func ids(ctx context.Context, root, version string, servers []server, stdout io.Writer) error {
	images, err := buildAll(ctx, root, version, servers)
	if err != nil {
		return err
	}
	for _, image := range images {
		fmt.Fprintf(stdout, "%s %s\n", image.name, image.id)
	}
	return nil
}

// load does as ids, and brings the images into the engine and their ids into the file env.
func load(ctx context.Context, root, version string, servers []server, env string, stdout io.Writer) error {
	engine, err := connect(ctx) // before the build, which takes minutes the first time
	if err != nil {
		return err
	}
	images, err := buildAll(ctx, root, version, servers)
	if err != nil {
		return err
	}
	var variables []variable
	for _, image := range images {
		id, err := engine.load(ctx, image)
		if err != nil {
			return err
		}
		fmt.Fprintf(stdout, "%s %s\n", image.name, id)
		variables = append(variables, variable{name: image.variable(), value: id})
	}
	return setVariables(env, variables)
}
