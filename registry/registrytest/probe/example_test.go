package probe_test

import (
	"context"
	"fmt"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/registry/registrytest/probe"
)

// The registry is a Quay in memory that responds to a missing tag as no Quay does.
func ExampleProbe_Run() {
	ctx := context.Background()
	login := registrytest.Account{Username: "team+robot", Password: credentials.NewSecret("s3cret"), Pull: []string{"team/*"}}
	quay := &registrytest.Registry{Dialect: registrytest.Quay(), Accounts: []registrytest.Account{login}}
	if _, err := quay.Add("team/app:1.0", registrytest.Image{}); err != nil {
		fmt.Println(err)
		return
	}
	quay.Inject(registrytest.Fault{
		Match: func(q registrytest.Request) bool {
			return q.Repository == "team/app" && q.Reference == "regcred-probe-missing"
		},
		Answer: registrytest.Answer{Status: 410, Body: `{"errors":[{"code":"TAG_EXPIRED","message":"the tag of team/app was moved to archive-7"}]}`},
	})
	server, err := registrytest.Start(quay)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()

	var p probe.Probe
	capture, err := p.Run(ctx, probe.Target{
		Transport:  server.TransportConfig(),
		Credential: credentials.Credential{Username: login.Username, Password: login.Password},
		Image:      registry.Image{Host: server.Host, Repository: "team/app", Tag: "1.0"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	comparison, err := capture.Compare(ctx, registrytest.Quay())
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, difference := range comparison.Relevant() {
		if difference.Login == probe.TokenLogin && difference.What == "status" {
			fmt.Println(difference)
		}
	}
	for _, exchange := range capture.Exchanges {
		if exchange.Question == "tag-missing" && exchange.Login == probe.TokenLogin {
			fmt.Println(exchange.Reply.Body)
		}
	}
	// Output:
	// GET of a tag that does not exist, with a token: status: the registry sends 410, and the fake 404
	// HEAD of a tag that does not exist, with a token: status: the registry sends 410, and the fake 404
	// {'errors':[{'code':'TAG_EXPIRED','message':'the tag of {repository} was ? to ?'}]}
}
