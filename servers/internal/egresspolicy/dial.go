package egresspolicy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// Resolver turns a name into addresses; [net.Resolver] is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Dial connects to the rule's destination and returns the address that it reached.
//
// The name is resolved once. Every address of the answer must be one that the rule allows, or nothing is
// dialled: an answer with an inward address in it is an attack or a mistake, and picking the others out of
// it would hide that. Only addresses that were checked are dialled, and no name is resolved after that. A
// refused address is a [*DeniedError]; other errors say whether they are timeouts, as those of package net do.
func Dial(ctx context.Context, resolver Resolver, rule Rule) (net.Conn, netip.AddrPort, error) {
	addrs, err := resolve(ctx, resolver, rule.Host)
	if err != nil {
		return nil, netip.AddrPort{}, err
	}
	for _, addr := range addrs {
		if reason := rule.refuseAddress(addr); reason != "" {
			return nil, netip.AddrPort{}, &DeniedError{Host: rule.Host, Reason: fmt.Sprintf("its address %s is not allowed: %s", addr, reason)}
		}
	}
	var errs []error
	for _, addr := range addrs[:min(len(addrs), maxAttempts)] {
		destination := netip.AddrPortFrom(addr, rule.Port)
		conn, err := dialAddress(ctx, destination)
		if err == nil {
			return conn, destination, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, netip.AddrPort{}, &dialError{host: rule.Host, errs: errs}
}

func dialAddress(ctx context.Context, destination netip.AddrPort) (net.Conn, error) {
	dialer := net.Dialer{Timeout: dialTimeout}
	dialer.SetMultipathTCP(false)
	return dialer.DialContext(ctx, "tcp", destination.String())
}

func resolve(ctx context.Context, resolver Resolver, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	// The root's dot keeps resolv.conf's search list out: the name means the same everywhere.
	answers, err := resolver.LookupNetIP(ctx, "ip", host+".")
	if err != nil {
		return nil, resolveError(host, err)
	}
	switch {
	case len(answers) == 0:
		return nil, fmt.Errorf("resolve %s: the name has no addresses", host)
	case len(answers) > maxAnswers:
		return nil, &DeniedError{Host: host, Reason: fmt.Sprintf("it has %d addresses; at most %d are checked", len(answers), maxAnswers)}
	}
	addrs := make([]netip.Addr, len(answers))
	for i, a := range answers {
		addrs[i] = a.Unmap()
	}
	return addrs, nil
}

// resolveError drops what the client has no use for: which resolver was asked.
func resolveError(host string, err error) error {
	if dnsErr, ok := errors.AsType[*net.DNSError](err); ok {
		return &net.DNSError{Err: dnsErr.Err, Name: host, IsTimeout: dnsErr.IsTimeout, IsTemporary: dnsErr.IsTemporary, IsNotFound: dnsErr.IsNotFound}
	}
	return fmt.Errorf("resolve %s: %w", host, err)
}

// dialError holds what became of each address that was tried.
type dialError struct {
	host string
	errs []error
}

func (e *dialError) Error() string {
	all := make([]string, len(e.errs))
	for i, err := range e.errs {
		all[i] = err.Error()
	}
	return "dial " + e.host + ": " + strings.Join(all, "; ")
}

func (e *dialError) Unwrap() []error { return e.errs }

// Timeout reports whether no address said no: each attempt ran out of time.
func (e *dialError) Timeout() bool {
	for _, err := range e.errs {
		if !IsTimeout(err) {
			return false
		}
	}
	return true
}

// IsTimeout reports whether err says that time ran out, as errors of package net and of contexts do.
func IsTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}
