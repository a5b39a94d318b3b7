package mcpserver

import (
	"bytes"
	"context"
	"os"
	"testing"
)

// What a program does beside serving begins when it serves, and is over when it has ended.
func TestStarted(t *testing.T) {
	in, feed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	begun, ended := make(chan bool), false
	p := Program{Name: "test", Tools: func(Env) ([]Tool, error) { return testTools()[:1], nil }, Started: func(ctx context.Context) {
		close(begun)
		<-ctx.Done()
		ended = true
	}}
	go func() {
		<-begun
		_ = feed.Close()
	}()
	var stdout, stderr bytes.Buffer
	if code := p.Run(t.Context(), []string{"--listen", "stdio"}, in, &stdout, &stderr); code != 0 || !ended {
		t.Errorf("exit code %d, ended %t: %s", code, ended, &stderr)
	}
	// The commands that only describe or call tools start nothing: begun would be closed twice.
	if code := p.Run(t.Context(), []string{"tools"}, in, &stdout, &stderr); code != 0 {
		t.Errorf("exit code %d: %s", code, &stderr)
	}
}
