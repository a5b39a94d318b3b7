package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/limit"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/workspace"
)

// server is what the tools are methods of.
type server struct {
	client    *client
	workspace *workspace.Root // nil without --workspace
	turn      chan struct{}   // holds one for each call that runs: each may hold lists of tags, or a layer
	reading   chan struct{}   // holds one while files are read and taken apart, which takes many times their size
	trust     *trust
	lints     chan struct{} // holds one for each image that is unpacked
}

// newServer opens what the flags name.
func newServer(own options, env mcpserver.Env) (*server, error) {
	asking, err := newClient(own, env)
	if err != nil {
		return nil, err
	}
	trusted, err := openTrust(own, asking.config.Signers)
	if err != nil {
		return nil, err
	}
	return &server{
		client: asking, workspace: env.Workspace, trust: trusted, turn: make(chan struct{}, maxCalls), reading: make(chan struct{}, 1), lints: make(chan struct{}, maxLints),
	}, nil
}

// newClient opens what of the flags decides how registries are asked.
func newClient(own options, env mcpserver.Env) (*client, error) {
	config, err := readConfig(own.config)
	if err != nil {
		return nil, fmt.Errorf("--registries: %w", err)
	}
	logins, err := openCredentials(own.credentials, env.Logger)
	if err != nil {
		return nil, fmt.Errorf("--credentials: %w", err)
	}
	return &client{
		outbound: func() (http.RoundTripper, error) {
			way, err := env.Outbound()
			if err != nil {
				return nil, err
			}
			return way.Transport(), nil
		},
		config: config, logins: logins, cache: newCache(cacheBudget), now: time.Now,
		pages: make(chan struct{}, maxPagesAtOnce), choosing: make(chan struct{}, 1),
	}, nil
}

// begin waits for its turn and begins a session; end must be called.
func (s *server) begin(ctx context.Context) (_ *session, end func(), err error) {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, mcpserver.Errorf(mcpserver.CodeBusy, "other calls are running; try again")
	}
	end = func() { <-s.turn }
	asked, err := s.client.session(ctx)
	if err != nil {
		end()
		return nil, nil, err
	}
	return asked, end, nil
}

// inputs are what several tools take: references, or a text or file that names images.
type inputs struct {
	references []string
	text, path string
	kind       source
}

// target is an image that is asked about, and where it is named.
type target struct {
	written  string
	ref      reference
	err      error // why it is no reference
	mentions []mention
}

// fault says why the target is no reference; nil if it is one.
func (t target) fault() *fault {
	if t.err == nil {
		return nil
	}
	return &fault{Code: string(mcpserver.CodeInvalidArguments), Message: t.err.Error()}
}

// targets is what a call is about.
type targets struct {
	images    []target
	documents map[string]document
	problems  []error
	cut       bool
}

// targets reads the inputs. It fails only if nothing of them could be read.
func (s *server) targets(ctx context.Context, in inputs) (targets, error) {
	select {
	case s.reading <- struct{}{}:
		defer func() { <-s.reading }()
	case <-ctx.Done():
		return targets{}, mcpserver.Errorf(mcpserver.CodeBusy, "other files are being read; try again")
	}
	given := 0
	for _, is := range []bool{len(in.references) > 0, in.text != "", in.path != ""} {
		if is {
			given++
		}
	}
	switch {
	case given != 1:
		return targets{}, mcpserver.Errorf(mcpserver.CodeInvalidArguments, "pass exactly one of references, text and path")
	case len(in.references) > 0:
		var t targets
		for _, text := range in.references {
			t.add(text, nil)
		}
		return t, nil
	case len(in.text) > maxText:
		return targets{}, mcpserver.Errorf(mcpserver.CodeTooLarge, "text: %w: more than %d bytes", limit.ErrTooLarge, maxText)
	case in.text != "":
		t := targets{}
		t.read(workspace.File{Data: []byte(in.text)}, in.kind)
		return t, nil
	case s.workspace == nil:
		return targets{}, mcpserver.Errorf(mcpserver.CodeInvalidArguments, "path: this server was started without --workspace; pass text or references")
	}
	files, err := s.workspace.Read(in.path, isSource)
	switch {
	case len(files) == 0 && err != nil:
		return targets{}, mcpserver.PathError(err)
	case len(files) == 0:
		return targets{}, mcpserver.Errorf(mcpserver.CodeNotFound, "path: no Dockerfile and no .yaml or .yml file below %q", in.path)
	}
	t := targets{problems: workspace.Problems(err)}
	for _, f := range files {
		f.Path = strings.ToValidUTF8(f.Path, "\ufffd")
		t.read(f, in.kind)
	}
	return t, nil
}

// read adds the images that a file names.
func (t *targets) read(f workspace.File, kind source) {
	text := strings.ToValidUTF8(string(f.Data), "\ufffd")
	named, doc := extract(f.Path, text, kind)
	if t.documents == nil {
		t.documents = map[string]document{}
	}
	if len(named.mentions) > 0 {
		t.documents[f.Path] = doc
	}
	t.cut = t.cut || named.cut
	for _, p := range named.problems {
		t.problems = append(t.problems, p)
	}
	for _, m := range named.mentions {
		t.add(m.text(), &m)
	}
}

// add notes an image; a reference that was seen gets one more mention.
func (t *targets) add(text string, m *mention) {
	if m != nil && m.hidden != "" {
		t.images = append(t.images, target{err: errors.New(m.hidden), mentions: []mention{*m}})
		return
	}
	for i := range t.images {
		if t.images[i].written == text && t.images[i].written != "" {
			if m != nil {
				t.images[i].mentions = append(t.images[i].mentions, *m)
			}
			return
		}
	}
	next := target{written: text}
	next.ref, next.err = parseReference(text)
	if m != nil {
		next.mentions = []mention{*m}
	}
	t.images = append(t.images, next)
}
