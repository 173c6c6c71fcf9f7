package credentialstest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
)

func TestSourceOfThisPackage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &Issuer{Steps: []Step{{Takes: 10 * time.Millisecond}}}
		for _, rule := range sourceRules {
			require.Empty(t, rule.broken(src, nil), rule.name)
		}
	})
	TestSource(t, credentials.Static(credentials.Credential{Username: "u", Password: credentials.NewSecret("p")}), "p")
}

func TestEachSourceRuleFindsItsFlaw(t *testing.T) {
	busy := make(chan struct{}, 1)
	flaws := map[string]credentials.Func{
		"issues what may be handed out": func(context.Context) (credentials.Credential, error) {
			return credentials.Credential{}, nil
		},
		"is safe for concurrent use": func(ctx context.Context) (credentials.Credential, error) {
			select {
			case busy <- struct{}{}:
			default:
				return credentials.Credential{}, errors.New("busy")
			}
			defer func() { <-busy }()
			return (&Issuer{Steps: []Step{{Takes: time.Second}}}).Credential(ctx)
		},
		"returns soon after its context ends, with the cause": func(ctx context.Context) (credentials.Credential, error) {
			if _, err := (&Issuer{Steps: []Step{{Takes: time.Minute}}}).Credential(ctx); err != nil {
				return credentials.Credential{}, ctx.Err() // The cause is lost.
			}
			return credentials.Credential{Anonymous: true}, nil
		},
		"its errors hold no secret": func(ctx context.Context) (credentials.Credential, error) {
			if err := context.Cause(ctx); err != nil {
				return credentials.Credential{}, fmt.Errorf("log in with hunter2: %w", err)
			}
			return credentials.Credential{Anonymous: true}, nil
		},
	}
	for _, rule := range sourceRules {
		t.Run(rule.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				busy = make(chan struct{}, 1)
				require.NotEmpty(t, rule.broken(flaws[rule.name], []string{"hunter2"}))
			})
		})
	}
	t.Run("a source that ignores its context", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			src := &Issuer{Steps: []Step{{Takes: time.Minute, Deaf: true}}}
			require.NotEmpty(t, sourceRules[2].broken(src, nil))
			time.Sleep(time.Hour)
		})
	})
}
