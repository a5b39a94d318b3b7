package mcpserver

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
)

// maxStdioCalls is how many messages of standard input are worked on at once; the next waits unread.
const maxStdioCalls = 16

// stdioEdge is where messages on standard input come in, one a line.
type stdioEdge struct {
	pipeline *pipeline
	out      io.Writer
	inflight inflight

	mu sync.Mutex // held while a line is written
}

// serve answers the lines of in until it ends or ctx does. Calls in flight at the end are answered, if somebody reads
// the answers: once ctx has ended, they have the drain timeout.
func (e *stdioEdge) serve(ctx context.Context, in io.Reader) error {
	lines := make(chan []byte)
	read := make(chan error, 1)
	// A read from standard input cannot be interrupted, so it must not keep a signal waiting.
	go func() {
		read <- e.read(ctx, in, lines)
		close(lines)
	}()
	var calls sync.WaitGroup
	defer func() {
		ended := make(chan struct{})
		go func() {
			calls.Wait()
			close(ended)
		}()
		select {
		case <-ended:
		case <-stopped(ctx, drainTimeout):
		}
	}()
	slots := make(chan struct{}, maxStdioCalls)
	for {
		select {
		case <-ctx.Done():
			return nil
		case line, more := <-lines:
			if !more {
				return <-read
			}
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return nil
			}
			// Calls run side by side, but begin in their order: a cancellation must find what it cancels.
			begun := make(chan struct{})
			calls.Go(func() {
				defer func() { <-slots }()
				e.answer(ctx, line, sync.OnceFunc(func() { close(begun) }))
			})
			select {
			case <-begun:
			case <-ctx.Done():
			}
		}
	}
}

// stopped is closed when ctx has ended for as long as grace.
func stopped(ctx context.Context, grace time.Duration) <-chan struct{} {
	done := make(chan struct{})
	context.AfterFunc(ctx, func() { time.AfterFunc(grace, func() { close(done) }) })
	return done
}

// read sends the lines of in to lines. A line beyond maxBody is answered with an error and skipped.
func (e *stdioEdge) read(ctx context.Context, in io.Reader, lines chan<- []byte) error {
	r := bufio.NewReaderSize(in, 64<<10)
	for {
		line, err := readLine(r)
		if errors.Is(err, bufio.ErrTooLong) {
			e.skip(ctx)
			continue
		}
		if len(bytes.TrimSpace(line)) > 0 {
			select {
			case lines <- line:
			case <-ctx.Done():
				return nil
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading standard input: %w", err)
		}
	}
}

// skip answers a line that was too long to be read.
func (e *stdioEdge) skip(ctx context.Context) {
	fault := protocolError{mcp.INVALID_REQUEST, fmt.Sprintf("a message has at most %d bytes; this line was skipped", maxBody)}
	out := e.pipeline.refused(ctx, inbound{transport: stdio, principal: stdio}, outcome{body: fault.response(nil, "")}, fault.message)
	e.write(ctx, out.body)
}

// readLine returns the next line, the last one even without a newline. A line beyond maxBody is consumed to
// its end and reported as bufio.ErrTooLong.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > maxBody {
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = r.ReadSlice('\n')
			}
			if err != nil && !errors.Is(err, io.EOF) {
				return nil, err
			}
			return nil, bufio.ErrTooLong
		}
		line = append(line, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

func (e *stdioEdge) answer(ctx context.Context, line []byte, begun func()) {
	defer begun()
	out := e.pipeline.serve(ctx, inbound{transport: stdio, principal: stdio, inflight: &e.inflight, begun: begun, body: line})
	if out.body != nil {
		e.write(ctx, out.body)
	}
}

func (e *stdioEdge) write(ctx context.Context, message json.RawMessage) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, err := e.out.Write(append(message, '\n')); err != nil {
		e.pipeline.logger.LogAttrs(ctx, slog.LevelError, "writing an answer to standard output", slog.String("error", err.Error()))
	}
}
