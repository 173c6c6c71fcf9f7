package ecr

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers/internal/cloud"
	"github.com/regcred/regcred/providers/internal/subject"
	"github.com/regcred/regcred/registry"
)

// A session is one call of [Provider.Credential]: it starts with the initial identity, assumes the roles and requests
// the token.
type session struct {
	provider     Provider
	profile      registry.Profile
	host         Host
	roundTripper http.RoundTripper
	way          *http.Transport // The transport of the profile, which roundTripper uses. Nil with Provider.RoundTripper.
}

// An identity is a caller of AWS's APIs. Its name is for people and holds no secret.
type identity struct {
	name      string
	presented string // The claims of a web identity's token, for hints.
	creds     aws.Credentials
}

// Retrieve makes the identity an [aws.CredentialsProvider].
func (id identity) Retrieve(context.Context) (aws.Credentials, error) { return id.creds, nil }

func (s session) credential(ctx context.Context) (credentials.Credential, error) {
	id, err := s.start(ctx)
	if err != nil {
		return credentials.Credential{}, err
	}
	if s.profile.Login.AWS != nil {
		for _, role := range s.profile.Login.AWS.Roles {
			if id, err = s.assume(ctx, id, role); err != nil {
				return credentials.Credential{}, err
			}
		}
	}
	return s.token(ctx, id)
}

// start returns the initial identity of the login; see [credentials.AWSLogin].
func (s session) start(ctx context.Context) (identity, error) {
	login := s.profile.Login.AWS
	switch {
	case login == nil || login.AccessKeyID == "" && login.WebIdentity == nil:
		return s.ambient(ctx)
	case login.WebIdentity != nil:
		return s.webIdentity(ctx, login.WebIdentity)
	}
	return identity{name: "access key " + login.AccessKeyID, creds: aws.Credentials{
		AccessKeyID:     login.AccessKeyID,
		SecretAccessKey: login.SecretAccessKey.Reveal(),
		SessionToken:    login.SessionToken.Reveal(),
	}}, nil
}

const defaultSessionName = "regcred"

func (s session) webIdentity(ctx context.Context, web *credentials.AWSWebIdentity) (identity, error) {
	id := identity{name: "a web identity for role " + web.RoleARN}
	token, name := web.Token, sessionName(web.SessionName)
	switch {
	case web.Subject != nil:
		got, err := subject.Get(ctx, s.provider.Subjects, s.profile, *web.Subject, destination(*web.Subject, s.host), nil)
		if err != nil {
			return id, s.error(registry.CodeOf(err), registry.HintOf(err), err)
		}
		token, id.presented = got.Secret, got.Claims.Presented()
		if k := web.Subject.Kubernetes; k != nil && web.SessionName == "" {
			name = accountSession(*k)
		}
	case web.TokenFile != "":
		var err error
		if token, err = readToken(web.TokenFile); err != nil {
			return id, s.error(registry.ErrNoIdentity, "mount the token at the path in the profile", err)
		}
	}
	in := &sts.AssumeRoleWithWebIdentityInput{
		RoleArn:          aws.String(web.RoleARN),
		RoleSessionName:  aws.String(name),
		WebIdentityToken: aws.String(token.Reveal()),
	}
	if web.SessionPolicy != "" {
		in.Policy = aws.String(web.SessionPolicy)
	}
	out, err := s.sts(id).AssumeRoleWithWebIdentity(ctx, in)
	if err != nil {
		return id, s.fail(ctx, stepWebIdentity, id, err)
	}
	return s.roleIdentity(web.RoleARN, out.Credentials)
}

func readToken(path string) (credentials.Secret, error) {
	text, err := cloud.ReadToken(path)
	if text = bytes.TrimSpace(text); err == nil && len(text) == 0 {
		err = fmt.Errorf("%s holds no token", path)
	}
	if err != nil {
		return credentials.Secret{}, err
	}
	return credentials.NewSecret(string(text)), nil
}

// assume assumes a role. It requests no duration, so that the session lasts an hour, which every role and every chain
// of roles allows.
func (s session) assume(ctx context.Context, from identity, role credentials.AWSRole) (identity, error) {
	in := &sts.AssumeRoleInput{RoleArn: aws.String(role.ARN), RoleSessionName: aws.String(sessionName(role.SessionName))}
	if role.ExternalID != "" {
		in.ExternalId = aws.String(role.ExternalID)
	}
	out, err := s.sts(from).AssumeRole(ctx, in)
	if err != nil {
		return identity{}, s.fail(ctx, stepAssumeRole, from, err)
	}
	return s.roleIdentity(role.ARN, out.Credentials)
}

func sessionName(s string) string {
	if s == "" {
		return defaultSessionName
	}
	return s
}

// maxSession is the maximum length of a session's name:
// https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html.
const maxSession = 64

// accountSession returns a session name that shows the service account in AWS's logs.
func accountSession(k credentials.ServiceAccount) string {
	name := defaultSessionName + "." + k.Namespace + "." + k.Name
	return name[:min(len(name), maxSession)]
}

func (s session) roleIdentity(arn string, c *ststypes.Credentials) (identity, error) {
	if c == nil || c.AccessKeyId == nil || c.SecretAccessKey == nil || c.SessionToken == nil {
		return identity{}, s.error(registry.ErrUnavailable, "", fmt.Errorf("assume role %s: the response holds no key", arn))
	}
	return identity{name: "role " + arn, creds: aws.Credentials{
		AccessKeyID: *c.AccessKeyId, SecretAccessKey: *c.SecretAccessKey, SessionToken: *c.SessionToken,
	}}, nil
}

// token requests the token and decodes it: it is the base64 form of "AWS:PASSWORD".
func (s session) token(ctx context.Context, id identity) (credentials.Credential, error) {
	issued := time.Now().Round(0)
	token, expires, err := s.askToken(ctx, id)
	if err != nil {
		return credentials.Credential{}, s.fail(ctx, s.tokenStep(), id, err)
	}
	pair, err := base64.StdEncoding.DecodeString(token)
	username, password, ok := strings.Cut(string(pair), ":")
	if err != nil || !ok || username != Username || !cloud.IsToken(password) || expires.IsZero() {
		return credentials.Credential{}, s.error(registry.ErrUnavailable, "", fmt.Errorf("%s: the response holds no token", s.tokenStep()))
	}
	c := credentials.Credential{Username: username, Password: credentials.NewSecret(password), IssuedAt: issued, ExpiresAt: expires}
	if err := c.Validate(time.Now()); err != nil {
		return credentials.Credential{}, s.error(registry.ErrClockSkew, "", fmt.Errorf("%s: a new token is valid until %s only, by AWS's clock",
			s.tokenStep(), expires.UTC().Format(time.RFC3339)))
	}
	return c, nil
}

func (s session) tokenStep() step {
	if s.host.Public {
		return stepPublicToken
	}
	return stepToken
}

func (s session) askToken(ctx context.Context, id identity) (token string, expires time.Time, err error) {
	if s.host.Public {
		out, err := s.ecrPublic(id).GetAuthorizationToken(ctx, nil)
		if err != nil || out.AuthorizationData == nil {
			return "", time.Time{}, err
		}
		return aws.ToString(out.AuthorizationData.AuthorizationToken), aws.ToTime(out.AuthorizationData.ExpiresAt), nil
	}
	out, err := s.ecr(id).GetAuthorizationToken(ctx, nil)
	if err != nil || len(out.AuthorizationData) == 0 {
		return "", time.Time{}, err
	}
	return aws.ToString(out.AuthorizationData[0].AuthorizationToken), aws.ToTime(out.AuthorizationData[0].ExpiresAt), nil
}
