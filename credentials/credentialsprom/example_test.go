package credentialsprom_test

import (
	"context"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/credentials/credentialsprom"
)

// A program serves the registry with promhttp; its content is printed here.
func ExampleNew() {
	var cache credentials.Cache // In a program with a regcred.Pipeline, use &pipeline.Cache.
	registry := prometheus.NewRegistry()
	if err := registry.Register(credentialsprom.New(&cache)); err != nil {
		fmt.Println(err)
		return
	}
	issuer := credentials.Static(credentials.Credential{Username: "robot", Password: credentials.NewSecret("s3cret")})
	key := credentials.Key{Issuer: "ecr", Scope: "aws/eu-central-1"}
	if _, err := cache.Credential(context.Background(), key, issuer); err != nil {
		fmt.Println(err)
		return
	}
	families, err := registry.Gather()
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, family := range families {
		if family.GetName() == "regcred_credential_calls_total" {
			fmt.Println(family.GetName())
			for _, m := range family.GetMetric() {
				for _, label := range m.GetLabel() {
					fmt.Println(label.GetName(), label.GetValue())
				}
				fmt.Println(m.GetCounter().GetValue())
			}
		}
	}
	// Output:
	// regcred_credential_calls_total
	// issuer ecr
	// result failed
	// scope aws/eu-central-1
	// 0
	// issuer ecr
	// result issued
	// scope aws/eu-central-1
	// 1
}
