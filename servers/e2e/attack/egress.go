//go:build linux && (amd64 || arm64)

package attack

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Control is no attack: it is what egress's policy does list, and what must come through, so that the refusals of all else
// are known to be the policy's.
const Control = "egress to what is listed"

// ControlGateway is the same of an agent: the gateway, which it must reach.
const ControlGateway = "the gateway, by the agent's own door"

// egress are attempts to be let out. What egress makes of spellings stands in its own tests, with a corpus; this is
// whether the one that runs has a policy in force.
func egress() []Attack {
	asks := func(request string) func(Scene) error {
		return func(s Scene) error {
			return ask(s.Egress, strings.NewReplacer("HOST", s.Host, "VICTIM", s.Victim, "CONTROL", s.Control).Replace(request))
		}
	}
	connect := func(target string) func(Scene) error {
		return asks("CONNECT " + target + " HTTP/1.1\r\nHost: x\r\n\r\n")
	}
	attacks := []Attack{
		{Name: Control, Try: connect("CONTROL")},
		{Name: "egress to the metadata address", Try: connect("169.254.169.254:80")},
		{Name: "egress to the metadata address in decimal", Try: connect("2852039166:80")},
		{Name: "egress to the metadata address, IPv4-mapped", Try: connect("[::ffff:169.254.169.254]:80")},
		{Name: "egress to itself", Try: connect("127.0.0.1:80")},
		{Name: "egress to the host", Try: connect("HOST")},
		{Name: "egress to another container", Try: connect("VICTIM")},
		{Name: "egress to another container by name", Try: connect("gateway:4000")},
		{Name: "egress to a host that is not listed", Try: connect("example.com:443")},
		{Name: "egress to a listed host on another port", Try: connect("hub.docker.com:22")},
		{Name: "egress with a listed host as user", Try: connect("hub.docker.com@example.com:443")},
		{Name: "egress by plain HTTP", Try: asks("GET http://HOST/ HTTP/1.1\r\nHost: hub.docker.com\r\n\r\n")},
		{Name: "egress for what speaks no TLS", Try: connect("hub.docker.com:80")},
	}
	for i := range attacks {
		attacks[i].Client = true
	}
	attacks = append(attacks, Attack{Name: ControlGateway, Agent: true, Try: func(s Scene) error {
		return ask(s.Gateway, "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
	}})
	return claim(EgressPolicy, attacks)
}

// reach connects to a Unix socket, or to HOST:PORT.
func reach(address string) (fd int, err error) {
	family, to := unix.AF_UNIX, unix.Sockaddr(&unix.SockaddrUnix{Name: address})
	if !strings.HasPrefix(address, "/") {
		inet, err := target(address)
		if err != nil {
			return -1, err
		}
		family, to = unix.AF_INET, inet
	}
	if fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return -1, err
	}
	if err := unix.Connect(fd, to); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// ask sends a request to where egress or the gateway listens. Success is that it says so.
func ask(address, request string) error {
	fd, err := reach(address)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	if _, err := unix.Write(fd, []byte(request)); err != nil {
		return err
	}
	const patience, pause = 3 * time.Second, 10 * time.Millisecond
	if err := unix.SetNonblock(fd, true); err != nil {
		return err
	}
	answer := make([]byte, 4096)
	for waited := time.Duration(0); waited < patience; waited += pause {
		n, err := unix.Read(fd, answer)
		if errors.Is(err, unix.EAGAIN) {
			time.Sleep(pause)
			continue
		}
		if err != nil {
			return err
		}
		response, err := http.ReadResponse(bufio.NewReader(strings.NewReader(string(answer[:n]))), nil)
		if err != nil {
			return err
		}
		_ = response.Body.Close()
		if response.StatusCode == http.StatusOK {
			return nil
		}
		return fmt.Errorf("%s: %s", response.Status, response.Header.Get("Bulkhead-Refused"))
	}
	return unix.ETIMEDOUT
}
