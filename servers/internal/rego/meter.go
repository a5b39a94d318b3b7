package rego

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/metrics"
	"sync/atomic"

	"github.com/open-policy-agent/opa/v1/ast"
)

// meter counts what an evaluation takes, and ends it where that is too much. It is the [topdown.Cancel] that OPA
// asks before each expression, and that functions with long loops ask in them.
type meter struct {
	limits    Limits
	steps     int64
	stride    int64 // steps between two looks at the heap
	made      int   // bytes that functions made since the last one
	heap      []metrics.Sample
	cancelled atomic.Bool
	stopped   error // why it ended, unless it was cancelled
	refused   error // the last call of a function whose arguments were too large for it
}

func newMeter(limits Limits) *meter {
	return &meter{limits: limits, stride: maxStride, heap: []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}}
}

// expect sets how often the heap is looked at: a step may take as much as a copy of the document does.
func (m *meter) expect(document extent) {
	m.stride = int64(min(max(heapSlack/(document.bytes+valueBytes*document.values), 1), maxStride))
}

// Cancel ends the evaluation at its next step. It may be called from any goroutine.
func (m *meter) Cancel() { m.cancelled.Store(true) }

// Cancelled counts a step, and says whether it was one too many.
func (m *meter) Cancelled() bool {
	if m.stopped != nil || m.cancelled.Load() {
		return true
	}
	m.steps++
	switch {
	case m.steps > m.limits.Steps:
		m.stopped = fmt.Errorf("too much work: more than %d steps; give it a smaller input", m.limits.Steps)
	case (m.steps%m.stride == 0 || m.made > heapSlack) && m.live() > m.limits.Heap:
		runtime.GC() // most of it may be garbage
		if m.live() > m.limits.Heap {
			m.stopped = fmt.Errorf("too much memory: more than %d MiB; give it a smaller input", m.limits.Heap>>20)
		}
	}
	return m.stopped != nil
}

// make notes what a function returned, which may be larger than the document is.
func (m *meter) make(made *ast.Term) {
	if s, ok := made.Value.(ast.String); ok {
		m.made += len(s)
	} else {
		m.made += madeBytes * sizeOf(made)
	}
}

// guardWriter bounds what a function writes out, value by value. It is more than a document has, and less than a policy can put together of documents.
func (m *meter) guardWriter(args []*ast.Term) error {
	var sum extent
	for _, arg := range args {
		e, _ := extentOf(arg, 2*m.limits.Values)
		sum.values, sum.bytes = sum.values+e.values, sum.bytes+e.bytes
	}
	return errors.Join(atMost("values", sum.values, 2*m.limits.Values), atMost("bytes", sum.bytes, maxMade))
}

func (m *meter) live() uint64 {
	m.made = 0
	metrics.Read(m.heap)
	return m.heap[0].Value.Uint64()
}
