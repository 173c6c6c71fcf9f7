package ecr

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
	"github.com/aws/aws-sdk-go-v2/credentials/processcreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/smithy-go/middleware"

	"github.com/regcred/regcred/providers/internal/cloud"
	"github.com/regcred/regcred/registry"
)

// ambient returns the identity of the process from AWS's own chain: environment, web identity, shared files, container
// credentials, instance metadata.
//
// Only the identity comes from the chain. If the chain itself calls AWS STS, it does so in the registry's region; an
// operator can set another endpoint with AWS_ENDPOINT_URL_STS.
func (s session) ambient(ctx context.Context) (identity, error) {
	id := identity{name: "the identity of the process"}
	client, done := s.ambientClient()
	defer done()
	_, fips, dualStack := s.endpoint("sts")
	cfg, err := config.LoadDefaultConfig(ctx,
		config.WithUseFIPSEndpoint(fips),
		config.WithUseDualStackEndpoint(dualStack),
		config.WithRegion(s.host.Region),
		config.WithHTTPClient(client),
		config.WithRetryer(newRetryer),
		config.WithAPIOptions([]func(*middleware.Stack) error{endWith(ctx)}),
		config.WithEC2IMDSClientEnableState(s.metadataState()),
		config.WithEndpointCredentialOptions(func(o *endpointcreds.Options) { o.HTTPClient = client }),
		config.WithProcessCredentialOptions(func(o *processcreds.Options) { o.Timeout = maxProcess }),
	)
	if err != nil {
		return id, s.error(registry.ErrNoIdentity, "", fmt.Errorf("%s: %s", id.name, s.clean(err.Error(), id)))
	}
	creds, err := cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return id, s.failAmbient(ctx, id, err)
	}
	return identity{name: fmt.Sprintf("%s (access key %s, from %s)", id.name, creds.AccessKeyID, creds.Source), creds: creds}, nil
}

// maxProcess limits the time of a credential_process in the shared files. AWS's chain does not end such a process when
// the caller's context ends.
const maxProcess = cloud.DefaultTimeout

func (s session) metadataState() imds.ClientEnableState {
	if login := s.profile.Login.AWS; s.provider.NoInstanceMetadata || login != nil && login.NoInstanceMetadata {
		return imds.ClientDisabled
	}
	return imds.ClientDefaultEnableState
}

// ambientClient returns a client that uses the profile's transport, except for plain HTTP: only metadata endpoints use
// plain HTTP, and no proxy reaches them. The type of the client allows the chain to add the certificates of
// AWS_CA_BUNDLE, which is impossible with a RoundTripper of the program.
func (s session) ambientClient() (client config.HTTPClient, done func()) {
	if s.way == nil {
		return s.client(), func() {}
	}
	c := awshttp.NewBuildableClient().WithTimeout(cloud.DefaultTimeout).WithTransportOptions(func(t *http.Transport) {
		t.TLSClientConfig = s.way.TLSClientConfig.Clone()
		if t.TLSClientConfig.RootCAs != nil {
			t.TLSClientConfig.RootCAs = t.TLSClientConfig.RootCAs.Clone()
		}
		t.Proxy = func(req *http.Request) (*url.URL, error) {
			if req.URL.Scheme == "http" || s.way.Proxy == nil {
				return nil, nil
			}
			return s.way.Proxy(req)
		}
	})
	return c, c.GetTransport().CloseIdleConnections
}

// endWith ends all calls of the chain when ctx ends. Otherwise the chain's own cache would continue them for later
// callers, and there are none.
func endWith(ctx context.Context) func(*middleware.Stack) error {
	return func(stack *middleware.Stack) error {
		return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("EndWithCaller",
			func(inner context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (
				middleware.InitializeOutput, middleware.Metadata, error,
			) {
				inner, cancel := context.WithCancel(inner)
				context.AfterFunc(ctx, cancel) // ctx ends soon; the body may be read after this function.
				return next.HandleInitialize(inner, in)
			}), middleware.Before)
	}
}
