package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/audit"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/listen"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
)

// The bounds of the socket for metrics.
const (
	metricsPath        = "/metrics"
	checkpointPath     = "/checkpoint"
	metricsTimeout     = 10 * time.Second // of one scrape, from its first byte to its last
	maxMetricsConns    = 8
	maxMetricsInFlight = 2
)

// Buckets of the histograms, in seconds: from half a millisecond to half a minute, and from 50 µs to 3 s.
const (
	firstCallBucket  = 0.0005
	firstAuditBucket = 0.00005
	bucketFactor     = 2
	buckets          = 17
)

// metrics counts what the records say. No label holds a word of a caller's or of a server's: each value comes from the
// policy, the lock, the command line or this file, so that their number is bounded and nothing secret can be among them.
type metrics struct {
	gateway  *gateway
	registry *prometheus.Registry

	requests  *prometheus.CounterVec   // by server, tool, decision, outcome
	agents    *prometheus.CounterVec   // by agent, decision
	durations *prometheus.HistogramVec // by server, tool
	lag       prometheus.Histogram
	failures  prometheus.Counter
}

func newMetrics(g *gateway) *metrics {
	name := func(of string) string { return prometheus.BuildFQName("bulkhead", "gateway", of) }
	m := &metrics{
		gateway: g, registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: name("requests_total"), Help: "Authenticated requests that have a record, by what was decided and what became of them.",
		}, []string{"server", "tool", "decision", "outcome"}),
		agents: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: name("agent_requests_total"), Help: "The same requests by who sent them.",
		}, []string{"agent", "decision"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: name("call_duration_seconds"), Help: "From a call's arrival until its answer was ready to be recorded; calls that were allowed.",
			Buckets: prometheus.ExponentialBuckets(firstCallBucket, bucketFactor, buckets),
		}, []string{"server", "tool"}),
		lag: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: name("audit_lag_seconds"), Help: "From a record being ready until it was durable, for which its answer waits.",
			Buckets: prometheus.ExponentialBuckets(firstAuditBucket, bucketFactor, buckets),
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: name("audit_failures_total"), Help: "Records that could not be written; their requests were refused.",
		}),
	}
	m.registry.MustRegister(m.requests, m.agents, m.durations, m.lag, m.failures)
	gauge := func(of, help string, labels prometheus.Labels, holds func() bool) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name(of), Help: help, ConstLabels: labels}, func() float64 {
			if holds() {
				return 1
			}
			return 0
		}))
	}
	gauge("audit_healthy", "Whether the audit log takes records.", nil, func() bool { return g.log.Healthy() == nil })
	for _, up := range g.upstreams {
		for state, holds := range map[string]func() bool{
			"serving":     func() bool { return up.state() == nil },
			"quarantined": func() bool { return up.quarantined() != nil },
			"lost":        func() bool { return up.state() != nil && up.quarantined() == nil },
		} {
			gauge("upstream_state", "In which of its states a server is: 1 for one, 0 for the others.",
				prometheus.Labels{"server": up.name, "state": state}, holds)
		}
	}
	return m
}

// meteredRecorder counts what its Recorder has kept.
type meteredRecorder struct {
	audit.Recorder
	metrics *metrics
}

// Record passes r on, and counts it when it is durable.
func (r meteredRecorder) Record(ctx context.Context, record audit.Record, result []byte) error {
	began := time.Now()
	if err := r.Recorder.Record(ctx, record, result); err != nil {
		r.metrics.failures.Inc()
		return err
	}
	r.metrics.lag.Observe(time.Since(began).Seconds())
	r.metrics.observe(record)
	return nil
}

func (m *metrics) observe(r audit.Record) {
	server, tool := m.gateway.known(r.Tool)
	m.requests.WithLabelValues(server, tool, string(r.Decision), outcome(r)).Inc()
	agent := r.Principal
	if m.gateway.policy.agents[agent] == nil {
		agent = "other"
	}
	m.agents.WithLabelValues(agent, string(r.Decision)).Inc()
	if r.Decision == audit.Allow && tool != "" {
		m.durations.WithLabelValues(server, tool).Observe((time.Duration(r.DurationUS) * time.Microsecond).Seconds())
	}
}

// known returns a locked tool and its server; both are empty for any other text.
func (g *gateway) known(tool string) (server, locked string) {
	if up := g.byTool[tool]; up != nil {
		return up.name, tool
	}
	return "", ""
}

// outcome is the reason of a record as one of a few words.
func outcome(r audit.Record) string {
	for _, known := range []struct{ prefix, word string }{
		{reasonNotGranted, "not_granted"},
		{reasonCondition, "condition"},
		{reasonOverBudget, "over_budget"},
		{reasonQuarantined, "quarantined"},
	} {
		if r.Decision == audit.Deny && strings.HasPrefix(r.Reason, known.prefix) {
			return known.word
		}
	}
	switch {
	case r.Decision == audit.Allow && (r.Reason == "" || r.Reason == "ok"):
		return "ok"
	case mcpserver.Code(r.Reason).Known():
		return r.Reason
	default:
		return "other" // its text may be a caller's
	}
}

// serve answers scrapes at address until stop is called.
func (m *metrics) serve(ctx context.Context, address listen.Address, logger *slog.Logger) (stop func() error, err error) {
	l, err := listen.Listen(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("--metrics: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET "+metricsPath, promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		DisableCompression: true, MaxRequestsInFlight: maxMetricsInFlight,
	}))
	mux.HandleFunc("GET "+checkpointPath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write(m.gateway.log.Checkpoint()) // the collector has gone away: nobody is left to tell
	})
	server := &http.Server{
		Handler:                      mux,
		DisableGeneralOptionsHandler: true,
		ReadTimeout:                  metricsTimeout,
		WriteTimeout:                 metricsTimeout,
		IdleTimeout:                  2 * metricsTimeout,
		MaxHeaderBytes:               maxHeader,
		ErrorLog:                     slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
	go func() {
		if err := server.Serve(netutil.LimitListener(l, maxMetricsConns)); !errors.Is(err, http.ErrServerClosed) {
			logger.LogAttrs(ctx, slog.LevelError, "metrics are not served any more", slog.String("error", err.Error()))
		}
	}()
	return server.Close, nil
}

// metered counts what goes to log, and serves the counts until stop is called, if the operator wants them.
func (g *gateway) metered(ctx context.Context, log audit.Recorder) (_ audit.Recorder, stop func() error, err error) {
	if g.metricsAddress.Path == "" {
		return log, func() error { return nil }, nil
	}
	m := newMetrics(g)
	stop, err = m.serve(ctx, g.metricsAddress, g.logger)
	return meteredRecorder{log, m}, stop, err
}

// setMetricsAddress reads the flag.
func (g *gateway) setMetricsAddress(spec string) error {
	address, err := listen.Parse(spec)
	if err == nil && address.Network != listen.Unix {
		err = fmt.Errorf("%s: metrics are served on a Unix socket; door forwards it to where they are collected", spec)
	}
	g.metricsAddress = address
	return err
}
