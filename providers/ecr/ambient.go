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

// ambient returns the identity of the process as AWS's own chain finds it: environment, web identity, shared files,
// container credentials, instance metadata.
//
// Only the identity is taken from the chain. Where the chain asks AWS STS itself, it does so in the registry's region;
// an endpoint of the operator's own for that is in the environment, AWS_ENDPOINT_URL_STS.
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

// maxProcess bounds a credential_process of the shared files, which AWS's chain does not end with its caller's context.
const maxProcess = cloud.DefaultTimeout

func (s session) metadataState() imds.ClientEnableState {
	if login := s.profile.Login.AWS; s.provider.NoInstanceMetadata || login != nil && login.NoInstanceMetadata {
		return imds.ClientDisabled
	}
	return imds.ClientDefaultEnableState
}

// ambientClient goes the profile's way, but for plain HTTP: that is spoken by metadata endpoints only, which no proxy
// reaches. It is of the type that the chain can add the certificates of AWS_CA_BUNDLE to, which a RoundTripper of the
// program's own cannot have.
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

// endWith makes all calls of the chain end with ctx. The chain's own cache goes on for later callers, of which there
// are none here.
func endWith(ctx context.Context) func(*middleware.Stack) error {
	return func(stack *middleware.Stack) error {
		return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("EndWithCaller",
			func(inner context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (
				middleware.InitializeOutput, middleware.Metadata, error,
			) {
				inner, cancel := context.WithCancel(inner)
				context.AfterFunc(ctx, cancel) // ctx ends soon; the body of an answer may be read after this function.
				return next.HandleInitialize(inner, in)
			}), middleware.Before)
	}
}
