//go:build linux && (amd64 || arm64)

package attack

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// Greeting is what the listeners of a scene say first over TCP, and answer over UDP.
	Greeting = "reached\n"

	reachTimeout = time.Second // for each step on the way to a listener

	// embeddedDNS is the engine's resolver in every container that has a network.
	embeddedDNS = "127.0.0.11:53"
)

// network are ways out. Each of them must have brought something back to count as one.
func network() []Attack {
	host, victim, metadata := func(s Scene) string { return s.Host }, func(s Scene) string { return s.Victim }, func(s Scene) string { return s.Metadata }
	way := func(try func(string) error, to func(Scene) string) func(Scene) error {
		return func(s Scene) error { return try(to(s)) }
	}
	return claim(NoWayOut, []Attack{
		{Name: "TCP to the host", Dials: true, Bridged: true, By: Network | filtered | Landlock, Try: way(overTCP, host)},
		{Name: "TCP to another container", Dials: true, By: Network | filtered | Landlock, Try: way(overTCP, victim)},
		{Name: "TCP to the metadata address", Dials: true, By: Network | filtered | Landlock, Try: way(overTCP, metadata)},
		{Name: "MPTCP to the host", Bridged: true, By: Network | filtered, Elsewhere: true, Try: way(overMPTCP, host)},
		{Name: "MPTCP to another container", By: Network | filtered, Elsewhere: true, Try: way(overMPTCP, victim)},
		{Name: "TCP fast open to the host", Dials: true, Bridged: true, By: Network | filtered, Try: way(fastOpen, host)},
		{Name: "TCP fast open to another container", Dials: true, By: Network | filtered, Try: way(fastOpen, victim)},
		{Name: "UDP to the host", Dials: true, Bridged: true, By: Network | filtered, Try: way(overUDP, host)},
		{Name: "UDP to another container", Dials: true, By: Network | filtered, Try: way(overUDP, victim)},
		{Name: "UDP to the metadata address", Dials: true, By: Network | filtered, Try: way(overUDP, metadata)},
		{Name: "UDP without connecting", Dials: true, By: Network | filtered, Try: way(sendUDP, victim)},
		{Name: "ping the host", Bridged: true, By: Network | filtered, Elsewhere: true, Try: way(ping, host)},
		{Name: "ping another container", By: Network | filtered, Elsewhere: true, Try: way(ping, victim)},
		{Name: "DNS", Dials: true, Bridged: true, By: Network | filtered, Try: func(Scene) error { return dns(embeddedDNS) }},
		{Name: "turn a listener round", Dials: true, Bridged: true, By: Network | filtered | Landlock, Try: func(s Scene) error { return turn(s.Listener, s.Host) }},
		{Name: "add an interface by netlink", By: filtered | Capabilities, Try: func(Scene) error { return addInterface() }},
	})
}

// errNoTarget is why an attack has nobody to reach: the scene lacks a listener.
var errNoTarget = errors.New("nobody to reach")

func target(address string) (*unix.SockaddrInet4, error) {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, errNoTarget
	}
	return &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}, nil
}

// patient is a new socket whose every step ends in time.
func patient(typ, protocol int) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, typ|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return -1, err
	}
	limit := unix.NsecToTimeval(reachTimeout.Nanoseconds())
	err = errors.Join(unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit))
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// answered reads what must come back.
func answered(fd int, want string) error {
	var got [512]byte
	n, err := unix.Read(fd, got[:])
	if err != nil {
		return err
	}
	if !strings.Contains(string(got[:n]), want) {
		return fmt.Errorf("it said %q", got[:n])
	}
	return nil
}

func stream(protocol int) func(string) error {
	return func(address string) error {
		to, err := target(address)
		if err != nil {
			return err
		}
		fd, err := patient(unix.SOCK_STREAM, protocol)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }()
		if err := unix.Connect(fd, to); err != nil {
			return err
		}
		return answered(fd, Greeting)
	}
}

func overTCP(address string) error   { return stream(0)(address) }
func overMPTCP(address string) error { return stream(unix.IPPROTO_MPTCP)(address) }

// fastOpen sends with the first packet, without a call of connect.
func fastOpen(address string) error {
	to, err := target(address)
	if err != nil {
		return err
	}
	fd, err := patient(unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Sendto(fd, []byte("x"), unix.MSG_FASTOPEN, to); err != nil {
		return err
	}
	return answered(fd, Greeting)
}

func overUDP(address string) error {
	to, err := target(address)
	if err != nil {
		return err
	}
	fd, err := patient(unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Connect(fd, to); err != nil {
		return err
	}
	if _, err := unix.Write(fd, []byte("x")); err != nil {
		return err
	}
	return answered(fd, Greeting)
}

func sendUDP(address string) error {
	to, err := target(address)
	if err != nil {
		return err
	}
	fd, err := patient(unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Sendto(fd, []byte("x"), 0, to); err != nil {
		return err
	}
	return answered(fd, Greeting)
}

// ping sends an echo request, RFC 792, and waits for its reply.
func ping(address string) error {
	to, err := target(address)
	if err != nil {
		return err
	}
	to.Port = 0
	fd, err := patient(unix.SOCK_DGRAM, unix.IPPROTO_ICMP)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Connect(fd, to); err != nil {
		return err
	}
	const echoRequest = 8
	message := append([]byte{echoRequest, 0, 0, 0, 0, 0, 0, 1}, Greeting...) // the kernel fills in the checksum
	if _, err := unix.Write(fd, message); err != nil {
		return err
	}
	return answered(fd, Greeting)
}

// dns asks for the name of another container, RFC 1035, and is content with any answer: the question has left the process then.
func dns(server string) error {
	to, err := target(server)
	if err != nil {
		return err
	}
	fd, err := patient(unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Connect(fd, to); err != nil {
		return err
	}
	const header = "BH\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
	if _, err := unix.Write(fd, []byte(header+"\x06victim\x00\x00\x01\x00\x01")); err != nil {
		return err
	}
	return answered(fd, "BH")
}

// turn makes a connection of a listener: it is disconnected first, which an address of no family does.
func turn(fd int, address string) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return errNoTarget
	}
	const short = 7 // bytes: as long as the address of a short Unix path
	where := make([]byte, unix.SizeofSockaddrInet4)
	connect := func(length int) error {
		return Raw(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&where[0])), uintptr(length))
	}
	if err := connect(short); err != nil {
		// Some kernels want a whole address to disconnect.
		if err := connect(len(where)); err != nil {
			return err
		}
	}
	binary.NativeEndian.PutUint16(where, unix.AF_INET)
	binary.BigEndian.PutUint16(where[2:], to.Port())
	ip := to.Addr().As4()
	copy(where[4:], ip[:])
	if err := connect(len(where)); err != nil {
		return err
	}
	return answered(fd, Greeting)
}

// addInterface asks for a new interface, rtnetlink(7), which is a pair of ends that nothing is connected to.
func addInterface() error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	attribute := func(kind uint16, value []byte) []byte {
		out := binary.NativeEndian.AppendUint16(nil, uint16(unix.SizeofRtAttr+len(value)))
		out = append(binary.NativeEndian.AppendUint16(out, kind), value...)
		for len(out)%unix.RTA_ALIGNTO != 0 {
			out = append(out, 0)
		}
		return out
	}
	info := attribute(unix.IFLA_LINKINFO, attribute(unix.IFLA_INFO_KIND, []byte("dummy\x00")))
	body := append(append(make([]byte, unix.SizeofIfInfomsg), attribute(unix.IFLA_IFNAME, []byte("attack0\x00"))...), info...)
	message := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(body)))
	message = binary.NativeEndian.AppendUint16(message, unix.RTM_NEWLINK)
	message = binary.NativeEndian.AppendUint16(message, unix.NLM_F_REQUEST|unix.NLM_F_ACK|unix.NLM_F_CREATE)
	message = append(append(message, make([]byte, 8)...), body...)
	if _, err := unix.Write(fd, message); err != nil {
		return err
	}
	var answer [512]byte
	n, err := unix.Read(fd, answer[:])
	if err != nil {
		return err
	}
	if n < unix.SizeofNlMsghdr+4 {
		return fmt.Errorf("netlink answers with %d bytes", n)
	}
	number := -int32(binary.NativeEndian.Uint32(answer[unix.SizeofNlMsghdr:]))
	// A kernel without dummy interfaces has looked at the request, and so has let it through.
	if e := unix.Errno(number); number != 0 && e != unix.EEXIST && e != unix.EOPNOTSUPP {
		return e
	}
	return nil
}
