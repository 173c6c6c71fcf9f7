package egress_test

import (
	"net/netip"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/egress"
)

func TestCheckAddr(t *testing.T) {
	wide := &egress.Policy{
		Allow: []netip.Prefix{
			netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8"), netip.MustParsePrefix("100.64.0.0/10"),
			netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("fd20:ce::254/128"),
		},
		Deny:  []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16"), netip.MustParsePrefix("1.1.1.0/24")},
		Ports: []int{443, 5000},
	}
	for address, want := range map[string][3]bool{ // No policy, the zero one, the wide one.
		"8.8.8.8:443":                 {true, true, true},
		"8.8.8.8:22":                  {true, true, false},
		"10.0.0.1:5000":               {true, false, true},
		"[::ffff:10.0.0.1]:5000":      {true, false, true},
		"[64:ff9b::10.0.0.1]:443":     {true, false, true},
		"10.9.1.1:443":                {true, false, false},
		"[::ffff:10.9.1.1]:443":       {true, false, false},
		"[64:ff9b::10.9.1.1]:443":     {true, false, false},
		"1.1.1.1:443":                 {true, true, false},
		"[64:ff9b::101:101]:443":      {true, true, false},
		"127.0.0.1:443":               {true, false, false},
		"[fd12::1]:443":               {true, false, true},
		"[fd00:ec2::254]:443":         {true, false, false}, // The wide prefix does not mean the metadata service.
		"[fd20:ce::254]:443":          {true, false, true},  // This one was named.
		"169.254.169.254:443":         {true, false, false},
		"100.100.100.200:443":         {true, false, false},
		"100.99.0.1:443":              {true, false, true},
		"[fe80::1%eth0]:443":          {true, false, false},
		"[64:ff9b:1::a9fe:a9fe]:443":  {true, false, false},
		"[2002:0a00:0001::1]:443":     {true, false, true},
		"[2001:db8::1]:443":           {true, false, false},
		"[2606:4700:4700::1111]:443":  {true, true, true},
		"[::ffff:0:10.0.0.1]:443":     {true, false, true},
		"[::ffff:0:169.254.1.1]:5000": {true, false, false},
	} {
		to := netip.MustParseAddrPort(address)
		for i, p := range []*egress.Policy{nil, {}, wide} {
			err := p.CheckAddr(to)
			if want[i] {
				require.NoError(t, err, "%s under policy %d", address, i)
			} else {
				require.ErrorIs(t, err, egress.ErrForbidden, "%s under policy %d", address, i)
			}
		}
	}
	require.ErrorIs(t, (&egress.Policy{}).CheckAddr(netip.AddrPort{}), egress.ErrForbidden)
}

func TestCheckURL(t *testing.T) {
	for text, want := range map[string][3]bool{ // No policy, the zero one, one for plain HTTP at one port.
		"https://ghcr.io/v2/":               {true, true, false},
		"https://ghcr.io:5000/v2/":          {true, true, true},
		"http://ghcr.io:5000/v2/":           {true, false, true},
		"http://ghcr.io/v2/":                {true, false, false},
		"https://8.8.8.8:5000/":             {true, true, true},
		"https://10.0.0.1:5000/":            {true, false, false},
		"https://[::1]:5000/":               {true, false, false},
		"https://127.1:5000/":               {true, false, false},
		"https://metadata.google.internal/": {true, false, false},
		"https://localhost:5000/":           {true, true, true}, // The dialer sees where that leads to.
	} {
		u, err := url.Parse(text)
		require.NoError(t, err)
		for i, p := range []*egress.Policy{nil, {}, {AllowPlainHTTP: true, Ports: []int{5000}}} {
			if err := p.CheckURL(u); want[i] {
				require.NoError(t, err, "%s under policy %d", text, i)
			} else {
				require.ErrorIs(t, err, egress.ErrForbidden, "%s under policy %d", text, i)
			}
		}
	}
}
