package egress_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/egress"
)

func TestZoneOf(t *testing.T) {
	for want, addresses := range map[egress.Zone][]string{
		egress.Public: {
			"8.8.8.8", "1.1.1.1", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "192.0.1.1", "223.255.255.255",
			"2606:4700:4700::1111", "2a00:1450::1", "2001:4860:4860::8888", "::ffff:8.8.8.8", "64:ff9b::808:808",
			"2002:808:808::1", "::ffff:0:808:808",
		},
		egress.Private: {
			"10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.255.255", "100.64.0.1", "fc00::1", "fd12:3456::1", "fec0::1",
			"::ffff:10.0.0.1", "::ffff:0:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "::10.0.0.1",
		},
		egress.Loopback: {"127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "::ffff:0:7f00:1"},
		egress.LinkLocal: {
			"169.254.169.254", "169.254.170.2", "fe80::1", "fe80::1%eth0", "::ffff:169.254.169.254", "::ffff:0:a9fe:a9fe",
			"64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::", "fd00:ec2::254", "fd20:ce::254", "fd00:c1::a9fe:a9fe",
			"100.100.100.200", "168.63.129.16", "192.0.0.192", "::168.63.129.16",
		},
		egress.Reserved: {
			"0.0.0.0", "0.1.2.3", "::", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "192.0.0.8", "192.0.2.1",
			"198.18.0.1", "198.51.100.7", "203.0.113.9", "ff02::1", "2001:db8::1", "2001::1", "3fff::1", "100::1", "5f00::1",
			"64:ff9b:1::1", "64:ff9b:1:a9fe:a9:fe00::", "4000::1",
		},
	} {
		for _, s := range addresses {
			require.Equal(t, want, egress.ZoneOf(netip.MustParseAddr(s)), s)
			require.Equal(t, want, egress.ZoneOfName(s), s)
			require.Equal(t, want, egress.ZoneOfName("["+s+"]"), s)
		}
	}
	require.Equal(t, egress.Reserved, egress.ZoneOf(netip.Addr{}))
}

func TestZoneOfName(t *testing.T) {
	for name, want := range map[string]egress.Zone{
		"ghcr.io": egress.Public, "GHCR.IO.": egress.Public, "registry": egress.Public, "a.internal": egress.Public,
		"localhost": egress.Loopback, "LocalHost.": egress.Loopback, "a.localhost": egress.Loopback,
		"metadata.google.internal": egress.LinkLocal, "metadata": egress.LinkLocal, "instance-data": egress.LinkLocal,
		"": egress.Reserved, "127.1": egress.Reserved, "0x7f000001": egress.Reserved, "2130706433": egress.Reserved,
		"0177.0.0.1": egress.Reserved, "a.0x1": egress.Reserved, "a b": egress.Reserved, "a@b": egress.Reserved,
	} {
		require.Equal(t, want, egress.ZoneOfName(name), name)
	}
}

// Every address of the internet protocols is in exactly one zone, and what is not public in one spelling is not public
// in another.
func FuzzZoneOf(f *testing.F) {
	f.Add([]byte{169, 254, 169, 254})
	f.Add([]byte{10, 0, 0, 1})
	f.Add([]byte{8, 8, 8, 8})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) != 4 {
			t.Skip("not an IPv4 address")
		}
		v4 := netip.AddrFrom4([4]byte(b))
		want := egress.ZoneOf(v4)
		if v4.IsUnspecified() || v4 == netip.AddrFrom4([4]byte{0, 0, 0, 1}) {
			return // ::0.0.0.0 and ::0.0.0.1 are addresses of IPv6 itself.
		}
		for _, prefix := range [][]byte{
			{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, {0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0}, make([]byte, 12),
			{0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0},
		} {
			addr := netip.AddrFrom16([16]byte(append(prefix, b...)))
			require.Equal(t, want, egress.ZoneOf(addr), addr)
		}
		require.Equal(t, want, egress.ZoneOf(netip.AddrFrom16([16]byte{0x20, 2, b[0], b[1], b[2], b[3]})))
	})
}
