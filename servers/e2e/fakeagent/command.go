package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/dockeragent"
)

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 || args[0] != "run" {
		return errors.New("usage: fakeagent run --exec [--model root=MODEL] FILE MESSAGE")
	}
	flags := flag.NewFlagSet("fakeagent run", flag.ContinueOnError)
	flags.SetOutput(stderr)
	exec := flags.Bool("exec", false, "one turn, without a terminal")
	override := flags.String("model", "", "`root=MODEL`: another model than the file's")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	if !*exec || flags.NArg() != 2 {
		return errors.New("want run --exec FILE MESSAGE")
	}
	data, err := os.ReadFile(flags.Arg(0))
	if err != nil {
		return err
	}
	file, err := dockeragent.Parse(filepath.Base(flags.Arg(0)), data)
	if err != nil {
		return err
	}
	named := file.Agents[dockeragent.Root].Model
	if *override != "" {
		other, ok := strings.CutPrefix(*override, dockeragent.Root+"=")
		if !ok {
			return fmt.Errorf("--model %q: want %s=MODEL", *override, dockeragent.Root)
		}
		named = other
	}
	model, err := findModel(file, named)
	if err != nil {
		return err
	}
	a, err := newAgent(file, model, stderr)
	if err != nil {
		return err
	}
	answer, err := a.turn(ctx, flags.Arg(1))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, answer)
	return err
}

// variable is one of the environment, else a file of [secrets].
func variable(name string) (string, error) {
	if value, ok := os.LookupEnv(name); ok {
		return value, nil
	}
	data, err := os.ReadFile(filepath.Join(secrets, name))
	if err != nil {
		return "", fmt.Errorf("%s is neither in the environment nor in %s", name, secrets)
	}
	return string(data), nil
}
