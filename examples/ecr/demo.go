package main

import (
	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers/ecr/ecrtest"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/registry/registrytest/fakenet"
)

// A demo is an AWS in memory with three accounts: a platform, a team that grants the platform access to its
// repository, and a team that does not.
type demo struct {
	network *fakenet.Network
	aws     *ecrtest.AWS
	profile registry.Profile
	images  []string
}

func startDemo() (*demo, error) {
	const (
		region   = ".dkr.ecr.eu-central-1.amazonaws.com"
		platform = "111111111111" + region
		admits   = "222222222222" + region
		refuses  = "333333333333" + region

		user  = "arn:aws:iam::111111111111:user/platform"
		role  = "arn:aws:iam::111111111111:role/pull"
		keyID = "AKIADEMO000000000000"
	)
	secret := credentials.NewSecret("a secret access key, which shows nowhere")
	network, err := fakenet.New()
	if err != nil {
		return nil, err
	}
	d := &demo{network: network, aws: &ecrtest.AWS{
		Users:    []ecrtest.User{{ARN: user, AccessKeyID: keyID, SecretAccessKey: secret}},
		Roles:    []ecrtest.Role{{ARN: role, TrustedBy: []string{user}, ExternalID: "customer-7", Allow: ecrtest.PullActions()}},
		Policies: map[string][]string{admits + "/team/app": {role}},
	}}
	d.aws.Attach(network)
	for _, host := range []string{platform, admits, refuses} {
		if _, err := d.aws.Registry(host).Add("team/app:1.4", registrytest.Image{}); err != nil {
			network.Close()
			return nil, err
		}
		d.images = append(d.images, host+"/team/app:1.4")
	}
	d.profile = registry.Profile{
		Name:     "aws",
		Kind:     registry.ECR,
		Endpoint: platform,
		Hosts:    []string{admits, refuses}, // One token serves all accounts of a region that grant its owner access.
		Login: credentials.Login{AWS: &credentials.AWSLogin{
			AccessKeyID:     keyID,
			SecretAccessKey: secret,
			Roles:           []credentials.AWSRole{{ARN: role, ExternalID: "customer-7"}},
		}},
		Transport: network.TransportConfig(), // For the AWS in memory. Most profiles need no Transport.
	}
	return d, nil
}
