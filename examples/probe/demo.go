package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/registry/registrytest/probe"
)

// demo starts a registry in memory that differs from its dialect in one response.
func demo(out io.Writer) (t probe.Target, host string, close func(), err error) {
	r := &registrytest.Registry{
		Dialect:  registrytest.Harbor(),
		Accounts: []registrytest.Account{{Username: "robot", Password: credentials.NewSecret("s3cret"), Pull: []string{"shop/*"}}},
	}
	for _, name := range []string{"shop/web:1.4", "other/app:1"} {
		if _, err := r.Add(name, registrytest.Image{}); err != nil {
			return t, "", func() {}, err
		}
	}
	r.Inject(registrytest.Fault{
		Times: 1, // The request with the login's own token is the first.
		Match: func(q registrytest.Request) bool {
			return q.Scheme == "bearer" && strings.HasSuffix(q.Path, "/blobs/"+q.Reference)
		},
		Answer: registrytest.Answer{Status: 404, Body: `{"errors":[{"code":"NOT_FOUND","message":"blob not found in shop/web"}]}`},
	})
	server, err := registrytest.Start(r)
	if err != nil {
		return t, "", func() {}, err
	}
	fmt.Fprintln(out, "This probes a Harbor in memory that has another code for blobs that do not exist; -help has the flags for a real registry.")
	fmt.Fprintln(out)
	return probe.Target{
		Transport:  server.TransportConfig(),
		Credential: credentials.Credential{Username: "robot", Password: credentials.NewSecret("s3cret")},
		Image:      registry.Image{Host: server.Host, Repository: "shop/web", Tag: "1.4"},
		Other:      registry.Image{Host: server.Host, Repository: "other/app", Tag: "1"},
	}, server.Host, server.Close, nil
}
