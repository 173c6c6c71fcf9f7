package kube_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clientgotesting "k8s.io/client-go/testing"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/inject/kube"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/federated"
	"github.com/regcred/regcred/providers/issuertest"
	"github.com/regcred/regcred/registry"
)

// issuing returns a client whose API server issues tokens, and calls the function for each.
func issuing(issuer *issuertest.Issuer, requested func() error) *fake.Clientset {
	client := fake.NewSimpleClientset()
	client.PrependReactor("create", "serviceaccounts", func(action clientgotesting.Action) (bool, runtime.Object, error) {
		if err := requested(); err != nil {
			return true, nil, err
		}
		create := action.(clientgotesting.CreateActionImpl)
		request := create.GetObject().(*authenticationv1.TokenRequest).DeepCopy()
		subject := "system:serviceaccount:" + create.GetNamespace() + ":" + create.Name
		request.Status.Token = issuer.Token(subject, request.Spec.Audiences[0], time.Duration(*request.Spec.ExpirationSeconds)*time.Second)
		return true, request, nil
	})
	return client
}

// TestSubjectsKeepTheirRate starts a platform on which each of many tenants has a registry of its own. A cache limits the
// calls to each registry, so that all tokens would be requested at once without a limit for the API server.
// REGCRED_NAMESPACES sets the number of tenants.
func TestSubjectsKeepTheirRate(t *testing.T) {
	const rate, burst = 50, 200
	tenants := 1000
	if text := os.Getenv("REGCRED_NAMESPACES"); text != "" {
		var err error
		tenants, err = strconv.Atoi(text)
		require.NoError(t, err)
	}
	issuer := issuertest.New("https://kubernetes.example.com", issuertest.ES256)
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var at []time.Time
		client := issuing(issuer, func() error {
			mu.Lock()
			defer mu.Unlock()
			at = append(at, time.Now())
			return nil
		})
		provider := federated.Provider{Subjects: &kube.Subjects{Client: client, Rate: rate, Burst: burst}}
		cache := &credentials.Cache{}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		begin := time.Now()
		var running sync.WaitGroup
		for i := range tenants {
			p := registry.Profile{
				Name: "zot", Kind: registry.Custom, Endpoint: fmt.Sprintf("tenant-%d.example.com", i),
				Login: credentials.Login{Federated: &credentials.FederatedLogin{
					Subject:  account(fmt.Sprintf("tenant-%d", i), "puller"),
					Exchange: credentials.Exchange{Password: &credentials.PasswordExchange{}},
				}},
			}
			source := cache.Source(providers.Key(provider, p), providers.Source(provider, p))
			running.Go(func() {
				for {
					_, err := source.Credential(ctx)
					if err == nil {
						return
					}
					if registry.CodeOf(err) != registry.ErrRateLimited {
						t.Error(err)
						return
					}
					time.Sleep(time.Second)
				}
			})
		}
		running.Wait()
		t.Logf("%d tokens, each for a registry of its own, in %s", tenants, time.Since(begin))
		require.Len(t, at, tenants, "none is requested twice")
		slices.SortFunc(at, time.Time.Compare)
		for i := burst; i < len(at); i++ {
			require.GreaterOrEqual(t, at[i].Sub(at[i-burst]), time.Second/rate, "request %d", i)
			if j := i - burst - rate; j >= 0 {
				require.GreaterOrEqual(t, at[i].Sub(at[j]), time.Second, "request %d", i)
			}
		}
		require.LessOrEqual(t, time.Since(begin), 2*time.Duration(tenants)*time.Second/rate)
	})
}

func waitOf(err error) time.Duration {
	if e, ok := errors.AsType[*registry.Error](err); ok {
		return e.Wait
	}
	return 0
}

func TestSubjectsWaitForTheirTurn(t *testing.T) {
	issuer := issuertest.New("https://kubernetes.example.com", issuertest.ES256)
	request := providers.SubjectRequest{Subject: account("shop", "puller"), Audience: "https://quay.example.com"}
	synctest.Test(t, func(t *testing.T) {
		subjects := &kube.Subjects{Client: issuing(issuer, func() error { return nil }), Rate: 0.5, Burst: 1}
		begin := time.Now()
		for range 3 {
			_, err := subjects.SubjectToken(t.Context(), request)
			require.NoError(t, err)
		}
		require.Equal(t, 4*time.Second, time.Since(begin))

		short, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_, err := subjects.SubjectToken(short, request)
		require.ErrorIs(t, err, registry.ErrRateLimited, "no time would be left for the exchange")
		require.Equal(t, 2*time.Second, waitOf(err))
		require.Equal(t, 4*time.Second, time.Since(begin), "it fails at once")

		ended, end := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, end)
		_, err = subjects.SubjectToken(ended, request)
		require.ErrorIs(t, err, context.Canceled)

		subjects.Rate = -1
		begin = time.Now()
		for range 300 {
			_, err = subjects.SubjectToken(t.Context(), request)
			require.NoError(t, err)
		}
		require.Zero(t, time.Since(begin))
	})
}

// A busy API server responds with the time after which to retry.
func TestSubjectsPassOnTheWait(t *testing.T) {
	issuer := issuertest.New("https://kubernetes.example.com", issuertest.ES256)
	subjects := &kube.Subjects{Client: issuing(issuer, func() error { return apierrors.NewTooManyRequests("too many requests", 7) })}
	_, err := subjects.SubjectToken(t.Context(), providers.SubjectRequest{Subject: account("shop", "puller"), Audience: "https://quay.example.com"})
	require.ErrorIs(t, err, registry.ErrRateLimited)
	require.Equal(t, 7*time.Second, waitOf(err))
}
