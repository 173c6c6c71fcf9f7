// Package testdns implements a name server for tests, on the loopback address.
package testdns

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"testing"
)

// Names are the IPv4 addresses of host names. Each lookup of a name returns the next of its addresses; the last one
// repeats.
type Names map[string][]string

// Start returns a resolver that knows only these names; all others do not exist. The name server stops with the test.
func Start(t testing.TB, names Names) *net.Resolver {
	t.Helper()
	asked := make(map[string]int)
	return StartFunc(t, func(name string) []string { return names[name] }, func(name string, list []string) string {
		asked[name]++
		return list[min(asked[name], len(list))-1]
	})
}

// StartFunc returns a resolver that takes the addresses of a name from lookup, and the one for each response from choose.
// They are called one at a time. A name without addresses does not exist. The name server stops with the test.
func StartFunc(t testing.TB, lookup func(name string) []string, choose func(name string, list []string) string) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		packet := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(packet)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo(answer(packet[:n], lookup, choose), from)
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// answer implements just enough of RFC 1035 for package net.
func answer(question []byte, lookup func(string) []string, choose func(string, []string) string) []byte {
	end := 12
	var labels []string
	for question[end] != 0 {
		size := int(question[end])
		labels = append(labels, string(question[end+1:end+1+size]))
		end += 1 + size
	}
	kind := binary.BigEndian.Uint16(question[end+1:])
	end += 5
	name := strings.ToLower(strings.Join(labels, "."))
	reply := append([]byte{}, question[:end]...)
	binary.BigEndian.PutUint16(reply[2:], 0x8180)
	binary.BigEndian.PutUint16(reply[4:], 1)
	copy(reply[6:12], make([]byte, 6))
	list := lookup(name)
	switch {
	case list == nil:
		binary.BigEndian.PutUint16(reply[2:], 0x8183) // The name does not exist.
	case kind == 1:
		address := netip.MustParseAddr(choose(name, list)).As4()
		binary.BigEndian.PutUint16(reply[6:], 1)
		reply = append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
		reply = append(reply, address[:]...)
	}
	return reply
}
