package main

import (
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"terraform": main})
}

// TestScripts runs the binary as its users do; see testdata/script.
func TestScripts(t *testing.T) {
	dirs := map[string]string{"SAMPLE": "../../agents/workspace/terraform", "PLANS": "testdata/plan"}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", UpdateScripts: *updatePage, RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			for name, dir := range dirs {
				path, err := filepath.Abs(dir)
				if err != nil {
					return err
				}
				env.Setenv(name, path)
			}
			return nil
		},
	})
}
