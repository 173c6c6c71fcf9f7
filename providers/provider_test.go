package providers_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/field"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/providerstest"
	"github.com/regcred/regcred/registry"
)

// A function is a provider. This one requests a token of an hour from a service; docs/provider.md describes all that a
// provider in production needs.
func ExampleFunc() {
	tokens := providers.Func(func(_ context.Context, p registry.Profile) (credentials.Credential, error) {
		if p.Login.Fields["key"].Reveal() != "key-of-the-"+p.Login.Settings["team"] { // The service's check.
			return credentials.Credential{}, &registry.Error{
				Op: "get credential", Ref: fmt.Sprintf("for profile %q", p.Name), Code: registry.ErrUnauthorized,
				Hint: "make a new key in the developer portal",
			}
		}
		now := time.Now()
		return credentials.Credential{
			Username: p.Login.Settings["team"], Password: credentials.NewSecret("token"), IssuedAt: now, ExpiresAt: now.Add(time.Hour),
		}, nil
	})
	provider := providers.Set{"acme": tokens}
	profile := registry.Profile{
		Name: "shop", Kind: "acme", Endpoint: "registry.example.com",
		Login: credentials.Login{
			Fields:   map[string]credentials.Secret{"key": credentials.NewSecret("key-of-the-shop")}, // Never printed.
			Settings: map[string]string{"team": "shop"},                                              // May be printed.
		},
	}
	credential, err := provider.Credential(context.Background(), profile)
	fmt.Println(credential.Username, credential.Password, err)

	profile.Login.Settings = map[string]string{"team": "blog"}
	_, err = provider.Credential(context.Background(), profile)
	fmt.Println(err)
	// Output:
	// shop [redacted] <nil>
	// get credential for profile "shop": unauthorized; hint: make a new key in the developer portal
}

func ExampleSet() {
	vault := providers.Func(func(_ context.Context, p registry.Profile) (credentials.Credential, error) {
		// Call the issuer of credentials for registries of this kind.
		return credentials.Credential{Username: "vault", Password: p.Login.Fields["role"]}, nil
	})
	set := providers.Set{"vault": vault, registry.Custom: providers.Static{}}
	credential, err := set.Credential(context.Background(), registry.Profile{
		Name: "team-a", Kind: "vault", Endpoint: "registry.example.com",
		Login: credentials.Login{Fields: map[string]credentials.Secret{"role": credentials.NewSecret("pull")}},
	})
	fmt.Println(credential.Username, err)

	_, err = set.Credential(context.Background(), registry.Profile{Name: "team-b", Kind: registry.ECR})
	fmt.Println(err)
	// Output:
	// vault <nil>
	// get credential for profile "team-b": no provider: profile "team-b": kind no provider: it is "ecr", and the program serves: custom, vault; hint: use one of these kinds, or add a provider for it to the providers.Set of the program
}

// A probe is a provider with both optional interfaces.
type probe struct {
	err     error // The result of Credential.
	invalid error // The result of Validate.
	scope   string
}

func (p probe) Credential(context.Context, registry.Profile) (credentials.Credential, error) {
	if p.err != nil {
		return credentials.Credential{}, p.err
	}
	return credentials.Credential{Anonymous: true}, nil
}

func (p probe) Validate(registry.Profile) error { return p.invalid }
func (p probe) Scope(registry.Profile) string   { return p.scope }
func profile(change func(*registry.Profile)) registry.Profile {
	p := profileWith(user("jo", "hunter2"))
	if change != nil {
		change(&p)
	}
	return p
}

func TestSetCredential(t *testing.T) {
	own := &registry.Error{Op: "ask", Code: registry.ErrRateLimited}
	var problems field.List
	problems.Add("login.username", "is not known", "another")
	odd := problems.Err("profile")
	tests := map[string]struct {
		provider providers.Provider
		change   func(p *registry.Profile)
		want     error
		text     string
	}{
		"issues":                     {provider: probe{}},
		"another's Error":            {provider: probe{err: own}, want: registry.ErrRateLimited, text: "ask: rate limited"},
		"a wrapped Error":            {provider: probe{err: fmt.Errorf("x: %w", own)}, want: registry.ErrRateLimited, text: "x: ask: rate limited"},
		"a code":                     {provider: probe{err: registry.ErrDenied}, want: registry.ErrDenied, text: `get credential for profile "a": denied`},
		"an error that says nothing": {provider: probe{err: io.ErrUnexpectedEOF}, want: registry.ErrUnknown, text: `get credential for profile "a": unknown: unexpected EOF`},
		"problems of the provider":   {provider: probe{invalid: odd}, want: registry.ErrInvalid, text: `get credential for profile "a": invalid: profile: login.username is not known`},
		"problems of any profile":    {provider: probe{}, change: func(p *registry.Profile) { p.Name = "" }, want: registry.ErrInvalid, text: "name is missing"},
		"no provider":                {provider: nil, want: registry.ErrNoProvider, text: `kind no provider: it is "harbor"`},
		"no kind":                    {provider: probe{}, change: func(p *registry.Profile) { p.Kind = "" }, want: registry.ErrInvalid, text: "kind is missing"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			set := providers.Set{"harbor": test.provider}
			c, err := set.Credential(t.Context(), profile(test.change))
			if test.want == nil {
				require.NoError(t, err)
				require.True(t, c.Anonymous)
				return
			}
			require.ErrorIs(t, err, test.want)
			require.ErrorContains(t, err, test.text)
			require.NotContains(t, err.Error(), "hunter2")
			_, ok := errors.AsType[*registry.Error](err)
			require.True(t, ok)
			require.Zero(t, c)
		})
	}
	_, err := providers.Set(nil).Credential(t.Context(), profile(nil))
	require.ErrorIs(t, err, registry.ErrNoProvider)
	require.ErrorContains(t, err, "the program serves: none")
}

func TestSetKnowsThatItsCallerLeft(t *testing.T) {
	cause := errors.New("the user left")
	ctx, cancel := context.WithCancelCause(t.Context())
	set := providers.Set{"harbor": providers.Func(func(ctx context.Context, _ registry.Profile) (credentials.Credential, error) {
		cancel(cause)
		return credentials.Credential{}, context.Cause(ctx)
	})}
	for _, when := range []string{"while asking", "before"} {
		_, err := set.Credential(ctx, profile(nil))
		require.ErrorIs(t, err, cause, when)
		require.Equal(t, registry.ErrCanceled, registry.CodeOf(err), when)
	}
}

func TestValidateJoinsProblems(t *testing.T) {
	var problems field.List
	problems.Add("login.username", "is not of mine", "another")
	problems.Add("endpoint", "is not of mine", "another")
	own := problems.Err("")
	before := own.Error()

	p := profile(func(p *registry.Profile) { p.Name, p.Login.Username = "", "" })
	err := providers.Validate(probe{invalid: own}, p)
	invalid, ok := errors.AsType[*field.Errors](err)
	require.True(t, ok)
	require.Equal(t, `profile ""`, invalid.Subject)
	var fields []string
	for _, f := range invalid.Fields {
		fields = append(fields, f.Field+" "+f.Problem)
	}
	require.Equal(t, []string{"name is missing", "login.username is missing", "endpoint is not of mine"}, fields, "each field once")
	require.Equal(t, before, own.Error(), "the provider's error stays what it was")

	require.NoError(t, providers.Validate(probe{}, profile(nil)))
	require.ErrorContains(t, providers.Validate(providers.Func(probe{}.Credential), p), "name is missing")
	require.ErrorIs(t, providers.Validate(probe{invalid: io.EOF}, p), io.EOF, "beside other problems")
	require.ErrorIs(t, providers.Validate(probe{invalid: io.EOF}, profile(nil)), io.EOF)
}

func TestKey(t *testing.T) {
	key := func(provider providers.Provider, change func(*registry.Profile)) credentials.Key {
		return providers.Key(provider, profile(change))
	}
	base := key(probe{}, nil)
	require.Equal(t, "harbor", base.Issuer)
	require.Equal(t, "registry.example.com", base.Scope)

	same := map[string]func(p *registry.Profile){
		"name":                   func(p *registry.Profile) { p.Name = "b" },
		"spelling":               func(p *registry.Profile) { p.Endpoint = "https://Registry.Example.com:443/v2/" },
		"the same host, further": func(p *registry.Profile) { p.Hosts = []string{"registry.example.com"} },
	}
	for name, change := range same {
		require.Equal(t, base, key(probe{}, change), name)
	}
	others := map[string]func(p *registry.Profile){
		"tenant":       func(p *registry.Profile) { p.Tenant = "acme" },
		"kind":         func(p *registry.Profile) { p.Kind = "quay" },
		"endpoint":     func(p *registry.Profile) { p.Endpoint = "registry.example.org" },
		"path":         func(p *registry.Profile) { p.Endpoint = "registry.example.com/team" },
		"further host": func(p *registry.Profile) { p.Hosts = []string{"b.example.com"} },
		"user name":    func(p *registry.Profile) { p.Login.Username = "al" },
		"password":     func(p *registry.Profile) { p.Login.Password = credentials.NewSecret("hunter3") },
		"proxy":        func(p *registry.Profile) { p.Transport.Proxy = registry.Direct },
		"invalid":      func(p *registry.Profile) { p.Endpoint = "é" },
	}
	for name, change := range others {
		require.NotEqual(t, base, key(probe{}, change), name)
	}
	elsewhere := func(p *registry.Profile) { p.Endpoint = "registry.example.org" }
	require.Equal(t, key(probe{scope: "all"}, nil), key(probe{scope: "all"}, elsewhere), "by the provider's word")
	require.Equal(t, "all", key(probe{scope: "all"}, nil).Scope)
	require.Equal(t, "all", key(providers.Set{"harbor": probe{scope: "all"}}, nil).Scope, "a Set passes it on")
	require.Equal(t, base, key(providers.Set{}, nil))
}

func TestSource(t *testing.T) {
	source := providers.Source(providers.Static{}, profile(nil))
	c, err := source.Credential(t.Context())
	require.NoError(t, err)
	require.Equal(t, "jo", c.Username)
}

func TestSetKeepsTheContract(t *testing.T) {
	public := profileWith(credentials.Login{Anonymous: true})
	providerstest.TestProvider(t, providerstest.Fixture{
		Provider: providers.Set{"harbor": providers.Static{}},
		Profiles: []registry.Profile{profileWith(user("jo", "hunter22")), profileWith(user("al", "hunter22")), public},
		Invalid:  []registry.Profile{profileWith(credentials.Login{Ambient: true})},
		Failing: providers.Set{"harbor": providers.Func(func(context.Context, registry.Profile) (credentials.Credential, error) {
			return credentials.Credential{}, registry.ErrUnauthorized
		})},
		Stalled: providers.Set{"harbor": providers.Func(func(ctx context.Context, _ registry.Profile) (credentials.Credential, error) {
			<-ctx.Done()
			return credentials.Credential{}, context.Cause(ctx)
		})},
	})
}
