package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
)

// source is where logs come from.
type source interface {
	// streams lists what it has now, sorted by name, and what of it could not be looked at.
	streams(ctx context.Context) ([]stream, []string, error)
	kind() string
}

// stream is one log: a file with its rotations, or a container.
type stream struct {
	name  string
	parts []part // the oldest first
	state string // of a container
	prior bool   // of a container's run before this one: read only when it is asked for by name
}

// part is a piece of a stream.
type part struct {
	id         string    // what a cursor calls it
	name       string    // what a person calls it
	bytes      int64     // as it is kept; -1 where that is not known
	modified   time.Time // when it was last written; zero where that is not known
	compressed bool      // it can only be read from its beginning
	open       func(ctx context.Context, want span) (opened, error)
}

// span is what is wanted of a part: those that can choose what to send do not send the rest.
type span struct {
	since, until time.Time
	tail         bool   // from its end
	mark         string // where the call before ended; empty is the beginning, or the end
}

// opened is a part that is read.
type opened struct {
	content content
	format  string
	clock   clock
	close   func()
	note    string // what of it could not be had
	more    bool   // there is more of the part behind this, or before it where it is read from its end
}

// server is what the tools are methods of.
type server struct {
	sources []namedSource
	folders []string      // that are read while serving
	turn    chan struct{} // holds one for each call that reads
	now     func() time.Time
	scan    time.Duration // in which a call reads
}

// namedSource is a source and what the operator says of it.
type namedSource struct {
	source

	name, about string
	join        bool
}

// newServer opens the sources that file names.
func newServer(file string, env mcpserver.Env) (*server, error) {
	c, err := readConfig(file)
	if err != nil {
		return nil, fmt.Errorf("--sources: %w", err)
	}
	s := &server{turn: make(chan struct{}, maxCalls), now: time.Now, scan: scanTime}
	for _, one := range c.Sources {
		opened, folder, err := open(one, env)
		if err != nil {
			return nil, fmt.Errorf("--sources: source %s: %w", one.Name.value, err)
		}
		s.folders = append(s.folders, folder)
		s.sources = append(s.sources, namedSource{source: opened, name: one.Name.value, about: one.About, join: !one.NoJoin})
	}
	slices.Sort(s.folders)
	s.folders = slices.Compact(s.folders)
	return s, nil
}

// open opens one source, and says which folder it needs.
func open(c sourceConfig, env mcpserver.Env) (source, string, error) {
	if c.Pods == nil {
		folder, err := openFolder(c)
		return folder, c.Folder, err
	}
	pods, err := openPods(*c.Pods, env)
	return pods, c.Pods.Credentials, err
}

// begin waits for its turn; end must be called.
func (s *server) begin(ctx context.Context) (end func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, waitTime)
	defer cancel()
	select {
	case s.turn <- struct{}{}:
		return func() { <-s.turn }, nil
	case <-ctx.Done():
		return nil, mcpserver.Errorf(mcpserver.CodeBusy, "other calls are running; try again")
	}
}

// named finds a source.
func (s *server) named(name string) (namedSource, error) {
	for _, one := range s.sources {
		if one.name == name {
			return one, nil
		}
	}
	if len(s.sources) == 0 {
		return namedSource{}, mcpserver.Errorf(mcpserver.CodeNotFound, "source %q: this server has no sources; its operator names them in --sources", name)
	}
	return namedSource{}, mcpserver.Errorf(mcpserver.CodeNotFound, "source %q: there is none of this name; list_sources lists them", name)
}

// chosen returns the streams that container asks for: by name, or by some of the parts that a name is made of, as
// "app" and "web-1/app" ask for shop/web-1/app. All but earlier runs of containers, if it asks for nothing.
func chosen(all []stream, container string) []stream {
	var out []stream
	for _, one := range all {
		if (!one.prior || strings.HasSuffix("/"+container, previousRun)) && strings.Contains("/"+one.name+"/", "/"+strings.Trim(container, "/")+"/") ||
			container == "" && !one.prior {
			out = append(out, one)
		}
	}
	return out
}
