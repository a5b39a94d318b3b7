package main

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestCache(t *testing.T) {
	now := time.Now()
	c := newCache(maxShare * 1000)
	c.now = func() time.Time { return now }
	for i := range 20 {
		c.put(fmt.Sprint(i), i, 600, 0)
	}
	if c.used > c.budget || c.order.Len() != len(c.entries) {
		t.Errorf("%d bytes of %d, %d entries", c.used, c.budget, len(c.entries))
	}
	if _, ok := cached[int](c, "0"); ok {
		t.Error("the oldest is still there")
	}
	if v, ok := cached[int](c, "19"); !ok || v != 19 {
		t.Error("the newest is gone")
	}
	if _, ok := cached[string](c, "19"); ok {
		t.Error("a value of another type")
	}
	c.put("huge", 1, 1001, 0)
	if _, ok := cached[int](c, "huge"); ok {
		t.Error("one entry took more than its share")
	}
	c.put("19", 20, 10, time.Minute)
	if v, _ := cached[int](c, "19"); v != 20 {
		t.Errorf("%d", v)
	}
	now = now.Add(time.Minute)
	if _, ok := cached[int](c, "19"); ok {
		t.Error("it lasted too long")
	}
}

func TestMemo(t *testing.T) {
	var m memo[int]
	var calls atomic.Int32
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() {
			v, err := m.do(t.Context(), "key", func() (int, error) { return int(calls.Add(1)), nil })
			if v != 1 || err != nil {
				t.Errorf("%d, %v", v, err)
			}
		})
	}
	group.Wait()
	func() {
		defer func() { _ = recover() }()
		_, _ = m.do(t.Context(), "panics", func() (int, error) { panic("x") })
	}()
	if _, err := m.do(t.Context(), "panics", func() (int, error) { return 1, nil }); !errors.Is(err, errPanic) {
		t.Errorf("after a panic: %v", err)
	}
}
