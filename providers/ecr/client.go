package ecr

import (
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecrpublic"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/regcred/regcred/registry"
)

// The clients of AWS's services differ only in their types. None of them reads the environment.

func (s session) ecr(id identity) *ecr.Client {
	endpoint, fips, dualStack := s.endpoint("ecr")
	return ecr.New(ecr.Options{
		Region: s.host.Region, Credentials: id, HTTPClient: s.client(), Retryer: newRetryer(), BaseEndpoint: endpoint,
		EndpointOptions: ecr.EndpointResolverOptions{UseFIPSEndpoint: fips, UseDualStackEndpoint: dualStack},
	})
}

func (s session) ecrPublic(id identity) *ecrpublic.Client {
	endpoint, fips, dualStack := s.endpoint("ecr-public")
	return ecrpublic.New(ecrpublic.Options{
		Region: s.host.Region, Credentials: id, HTTPClient: s.client(), Retryer: newRetryer(), BaseEndpoint: endpoint,
		EndpointOptions: ecrpublic.EndpointResolverOptions{UseFIPSEndpoint: fips, UseDualStackEndpoint: dualStack},
	})
}

func (s session) sts(id identity) *sts.Client {
	endpoint, fips, dualStack := s.endpoint("sts")
	return sts.New(sts.Options{
		Region: s.host.Region, Credentials: id, HTTPClient: s.client(), Retryer: newRetryer(), BaseEndpoint: endpoint,
		EndpointOptions: sts.EndpointResolverOptions{UseFIPSEndpoint: fips, UseDualStackEndpoint: dualStack},
	})
}

// endpoint returns the program's own endpoint for a service, or the variant of AWS's endpoint. AWS's clients accept
// only one of the two.
func (s session) endpoint(service string) (own *string, fips aws.FIPSEndpointState, dualStack aws.DualStackEndpointState) {
	if s.provider.Endpoint != nil {
		if own := s.provider.Endpoint(service, s.host.Region); own != "" {
			return &own, aws.FIPSEndpointStateDisabled, aws.DualStackEndpointStateDisabled
		}
	}
	fips, dualStack = aws.FIPSEndpointStateDisabled, aws.DualStackEndpointStateDisabled
	if s.host.FIPS {
		fips = aws.FIPSEndpointStateEnabled
	}
	if s.host.DualStack {
		dualStack = aws.DualStackEndpointStateEnabled
	}
	return nil, fips, dualStack
}

// Three attempts within seconds cover a short failure. The cache retries after a longer outage, on behalf of all
// callers.
const (
	maxAttempts = 3
	maxBackoff  = 2 * time.Second
)

func newRetryer() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = maxAttempts
		o.MaxBackoff = maxBackoff
	})
}

func (s session) client() *http.Client {
	return &http.Client{
		Transport:     limited{s.roundTripper},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // A signature is for one host.
	}
}

// maxAnswer is far larger than any response: tokens have a few thousand characters.
const maxAnswer = 1 << 20

// limited fails if a response is larger than maxAnswer.
type limited struct{ http.RoundTripper }

func (l limited) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := l.RoundTripper.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	res.Body = &limitedBody{res.Body, maxAnswer}
	return res, nil
}

type limitedBody struct {
	io.ReadCloser
	left int
}

func (b *limitedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left+1)])
	if b.left -= n; b.left < 0 {
		return 0, fmt.Errorf("%w: more than %d bytes", registry.ErrTooLarge, maxAnswer)
	}
	return n, err
}
