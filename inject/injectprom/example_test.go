package injectprom_test

import (
	"context"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/inject/injectprom"
	"github.com/regcred/regcred/inject/injecttest"
	"github.com/regcred/regcred/registry"
)

// This example collects the metrics of several clusters in one registry. A label distinguishes them.
func ExampleNew() {
	ctx := context.Background()
	metrics := prometheus.NewRegistry()
	login := credentials.Login{Username: "robot", Password: credentials.NewSecret("hunter2")}
	target := inject.Target{
		Name:       "regcred",
		Profiles:   []registry.Profile{{Name: "quay", Kind: registry.Custom, Endpoint: "quay.io", Login: login}},
		Namespaces: inject.Selection{Names: []string{"*"}},
	}
	for _, name := range []string{"eu", "us"} {
		var cluster injecttest.Cluster // Or a kube.Cluster.
		if err := cluster.CreateNamespace(ctx, "shop", nil); err != nil {
			panic(err)
		}
		syncer := &inject.Syncer{
			Cluster: &cluster,
			Credential: func(context.Context, registry.Profile) (credentials.Credential, error) { // In a real program, a cache.
				return credentials.Credential{Username: "robot", Password: credentials.NewSecret("hunter2")}, nil
			},
		}
		collector := injectprom.New(syncer)
		prometheus.WrapRegistererWith(prometheus.Labels{"cluster": name}, metrics).MustRegister(collector)

		if _, err := syncer.Sync(ctx, []inject.Target{target}); err != nil { // In a real program, a kube.Controller calls it.
			panic(err)
		}
	}
	families, err := metrics.Gather()
	if err != nil {
		panic(err)
	}
	for _, family := range families {
		if family.GetName() == "regcred_pullsecret_changes_total" {
			for _, series := range family.GetMetric() {
				for _, label := range series.GetLabel() {
					fmt.Print(label.GetName(), "=", label.GetValue(), " ")
				}
				fmt.Println(series.GetCounter().GetValue())
			}
		}
	}
	// Output:
	// action=create_secret cluster=eu result=made 1
	// action=create_secret cluster=us result=made 1
}
