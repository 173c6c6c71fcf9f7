package providerstest_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/field"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/providerstest"
	"github.com/regcred/regcred/registry"
)

// good is a provider that follows all rules. The broken ones below wrap it, each with one fault.
type good struct {
	providers.Static
	stall bool
}

var errRefused = &registry.Error{Op: "ask issuer", Code: registry.ErrUnauthorized}

func check(p registry.Profile, problems *field.List) {
	if p.Login.Username == "root" {
		problems.Add("login.username", "is root", "another user")
	}
}

func newGood() good { return good{Static: providers.Static{Check: check}} }

func (g good) Credential(ctx context.Context, p registry.Profile) (credentials.Credential, error) {
	if g.stall {
		<-ctx.Done()
		return credentials.Credential{}, context.Cause(ctx)
	}
	return g.Static.Credential(ctx, p)
}

func (g good) Scope(p registry.Profile) string { return "scope of " + p.Endpoint }

// broken is good with some functions replaced.
type broken struct {
	good
	credential func(ctx context.Context, p registry.Profile) (credentials.Credential, error)
	validate   func(p registry.Profile) error
	scope      func(p registry.Profile) string
}

func (b broken) Credential(ctx context.Context, p registry.Profile) (credentials.Credential, error) {
	if b.credential != nil {
		return b.credential(ctx, p)
	}
	return b.good.Credential(ctx, p)
}

func (b broken) Validate(p registry.Profile) error {
	if b.validate != nil {
		return b.validate(p)
	}
	return b.good.Validate(p)
}

func (b broken) Scope(p registry.Profile) string {
	if b.scope != nil {
		return b.scope(p)
	}
	return b.good.Scope(p)
}

// subject returns a test of provider, which must issue the login of each profile.
func fixture(provider providers.Provider) providerstest.Fixture {
	login := func(name string) credentials.Login {
		return credentials.Login{Username: name, Password: credentials.NewSecret("hunter2+/" + name)}
	}
	profile := func(name string, l credentials.Login) registry.Profile {
		return registry.Profile{Name: name, Kind: registry.Custom, Endpoint: "registry.example.com", Hosts: []string{"b.example.com"}, Login: l}
	}
	stalled := newGood()
	stalled.stall = true
	return providerstest.Fixture{
		Provider: provider,
		Profiles: []registry.Profile{
			profile("jo", login("jo")), profile("al", login("al")), profile("public", credentials.Login{Anonymous: true}),
		},
		Invalid: []registry.Profile{profile("root", login("root"))},
		Failing: providers.Func(func(context.Context, registry.Profile) (credentials.Credential, error) {
			return credentials.Credential{}, errRefused
		}),
		Stalled: stalled,
		Check: func(p registry.Profile, c credentials.Credential) error {
			if c.Username != p.Login.Username {
				return errors.New("it is of somebody else")
			}
			return nil
		},
	}
}

func TestGoodProvidersPass(t *testing.T) {
	providerstest.TestProvider(t, fixture(newGood()))
	t.Run("without the optional interfaces", func(t *testing.T) {
		providerstest.TestProvider(t, fixture(providers.Func(newGood().Credential)))
	})
}

// implied are the rules that are necessarily broken together with another one.
var implied = map[string][]string{
	"what it issues belongs to the profile": {"it is safe for concurrent use", "Scope: what is shared serves both"},
}

// TestEachRuleFails has a provider for each rule that breaks that rule only.
func TestEachRuleFails(t *testing.T) {
	tests := map[string]func(fx *providerstest.Fixture) broken{
		"what it issues is valid": func(*providerstest.Fixture) broken {
			return broken{credential: then(func(_ registry.Profile, c *credentials.Credential, _ *error) {
				c.Password = credentials.Secret{}
			})}
		},
		"what it issues belongs to the profile": func(fx *providerstest.Fixture) broken {
			// It caches the first result by the host alone, like a provider with an incomplete cache key.
			var cache atomic.Pointer[credentials.Credential]
			fx.Profiles = fx.Profiles[:2]
			return broken{credential: then(func(_ registry.Profile, c *credentials.Credential, err *error) {
				if *err == nil && !cache.CompareAndSwap(nil, c) {
					*c = *cache.Load()
				}
			})}
		},
		"it is safe for concurrent use": func(*providerstest.Fixture) broken {
			var busy atomic.Bool
			return broken{credential: func(ctx context.Context, p registry.Profile) (credentials.Credential, error) {
				if !busy.CompareAndSwap(false, true) {
					return credentials.Credential{}, errRefused
				}
				defer busy.Store(false)
				time.Sleep(time.Nanosecond) // In a bubble: until all other callers wait or have failed.
				return newGood().Credential(ctx, p)
			}}
		},
		"it does not change the profile": func(*providerstest.Fixture) broken {
			return broken{credential: then(func(p registry.Profile, _ *credentials.Credential, _ *error) {
				p.Hosts[0] = strings.ToUpper(p.Hosts[0])
			})}
		},
		"it returns soon after ctx ends, with its cause": func(*providerstest.Fixture) broken {
			return broken{credential: func(ctx context.Context, p registry.Profile) (credentials.Credential, error) {
				return newGood().Credential(context.WithoutCancel(ctx), p)
			}}
		},
		"it is never anonymous because something failed": func(*providerstest.Fixture) broken {
			return broken{credential: then(func(_ registry.Profile, c *credentials.Credential, err *error) {
				if errors.Is(*err, registry.ErrInvalid) {
					*c, *err = credentials.Credential{Anonymous: true}, nil
				}
			}), validate: func(registry.Profile) error { return nil }}
		},
		"it refuses a login that cannot be used": func(*providerstest.Fixture) broken {
			return broken{credential: func(ctx context.Context, p registry.Profile) (credentials.Credential, error) {
				if p.Login.Password.IsZero() && p.Login.Username != "" {
					p.Login.Password = credentials.NewSecret("none")
				}
				return newGood().Credential(ctx, p)
			}}
		},
		"it returns no credential beside an error": func(*providerstest.Fixture) broken {
			return broken{credential: then(func(p registry.Profile, c *credentials.Credential, err *error) {
				if *err != nil {
					c.Username = p.Name
				}
			})}
		},
		"its errors say what went wrong": func(*providerstest.Fixture) broken {
			return broken{credential: then(func(_ registry.Profile, _ *credentials.Credential, err *error) {
				if errors.Is(*err, registry.ErrInvalid) {
					*err = fmt.Errorf("%w: %w", registry.ErrInvalid, errors.New("something went wrong"))
				}
			})}
		},
		"its errors hold no secret": func(*providerstest.Fixture) broken {
			return broken{credential: then(func(p registry.Profile, _ *credentials.Credential, err *error) {
				if e, ok := errors.AsType[*registry.Error](*err); ok {
					e.Err = fmt.Errorf("POST /token?password=%s: %w", p.Login.Password.Reveal(), e.Err)
				}
			})}
		},
		"Validate: it agrees with Credential": func(*providerstest.Fixture) broken {
			return broken{validate: func(registry.Profile) error { return nil }}
		},
		"Validate: it reports problems by field": func(*providerstest.Fixture) broken {
			return broken{validate: func(p registry.Profile) error {
				if err := newGood().Validate(p); err != nil {
					return errors.New(err.Error())
				}
				return nil
			}}
		},
		"Scope: it is the same each time": func(*providerstest.Fixture) broken {
			var n atomic.Int64
			return broken{scope: func(registry.Profile) string { return fmt.Sprint(n.Add(1)) }}
		},
		"Scope: what is shared serves both": func(fx *providerstest.Fixture) broken {
			// Two registries with one login, each with its own token.
			other := fx.Profiles[0]
			other.Name, other.Endpoint = "elsewhere", "registry.example.org"
			fx.Profiles = append(fx.Profiles, other)
			fx.Check = func(p registry.Profile, c credentials.Credential) error {
				if !p.Login.Anonymous && !strings.HasSuffix(c.Username, p.Endpoint) {
					return errors.New("it is of another registry")
				}
				return nil
			}
			return broken{
				scope: func(registry.Profile) string { return "all the same" },
				credential: then(func(p registry.Profile, c *credentials.Credential, err *error) {
					if *err == nil && !c.Anonymous {
						c.Username += "@" + p.Endpoint
					}
				}),
			}
		},
	}
	require.ElementsMatch(t, providerstest.Rules(), slices.Collect(maps.Keys(tests)), "each rule has its broken provider")
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := fixture(nil)
				b := test(&s)
				b.good = newGood()
				s.Provider = b
				got := providerstest.Broken(t.Context(), s)
				require.ElementsMatch(t, append(implied[name], name), slices.Collect(maps.Keys(got)), "%v", got)
			})
		})
	}
}

// then returns a call of good whose result is modified afterwards.
func then(spoil func(registry.Profile, *credentials.Credential, *error)) func(context.Context, registry.Profile) (credentials.Credential, error) {
	return func(ctx context.Context, p registry.Profile) (credentials.Credential, error) {
		c, err := newGood().Credential(ctx, p)
		spoil(p, &c, &err)
		return c, err
	}
}

func TestBrokenIssuers(t *testing.T) {
	t.Run("one that makes a refused login anonymous", func(t *testing.T) {
		s := fixture(newGood())
		s.Failing = providers.Func(func(context.Context, registry.Profile) (credentials.Credential, error) {
			return credentials.Credential{Anonymous: true}, nil
		})
		require.Contains(t, providerstest.Broken(t.Context(), s), "it is never anonymous because something failed")
	})
	t.Run("one that cannot be left", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := fixture(newGood())
			s.Stalled = providers.Func(func(context.Context, registry.Profile) (credentials.Credential, error) {
				time.Sleep(time.Hour)
				return credentials.Credential{}, errRefused
			})
			require.Contains(t, providerstest.Broken(t.Context(), s), "it returns soon after ctx ends, with its cause")
			time.Sleep(2 * time.Hour) // Until the late call returns.
		})
	})
}

// The suite names the field whose secret it found, and not the secret.
func TestSecretIsNamedByField(t *testing.T) {
	profile := registry.Profile{
		Name: "own", Kind: "own", Endpoint: "registry.example.com",
		Login: credentials.Login{Fields: map[string]credentials.Secret{"apiKey": credentials.NewSecret("hunter2hunter2")}},
	}
	leak := providers.Func(func(_ context.Context, p registry.Profile) (credentials.Credential, error) {
		err := fmt.Errorf("POST /token: %s", p.Login.Fields["apiKey"].Reveal())
		return credentials.Credential{}, &registry.Error{Op: "get credential", Code: registry.ErrUnauthorized, Err: err}
	})
	found := providerstest.Broken(t.Context(), providerstest.Fixture{Provider: leak, Profiles: []registry.Profile{profile}, Failing: leak})
	err := found["its errors hold no secret"]
	require.ErrorContains(t, err, "holds the secret in login.fields.apiKey")
	require.NotContains(t, err.Error(), "hunter2")

	profile.Login.Fields["apiKey"] = credentials.NewSecret("short")
	found = providerstest.Broken(t.Context(), providerstest.Fixture{Provider: leak, Profiles: []registry.Profile{profile}})
	require.ErrorContains(t, found["subject"], "login.fields.apiKey has 5 bytes")
}

func TestUselessFixtures(t *testing.T) {
	short := fixture(newGood())
	short.Profiles[0].Login.Password = credentials.NewSecret("p")
	invalid := fixture(newGood())
	invalid.Profiles[0].Kind = ""
	empty := providerstest.Fixture{Provider: newGood()}
	for name, s := range map[string]providerstest.Fixture{"short secret": short, "invalid profile": invalid, "no profile": empty} {
		t.Run(name, func(t *testing.T) {
			require.Contains(t, providerstest.Broken(t.Context(), s), "subject")
		})
	}
}
