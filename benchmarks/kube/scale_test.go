package kube_test

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/regcred/regcred/inject/kube"
	"github.com/regcred/regcred/internal/testtool"
	"github.com/regcred/regcred/pullsecret"
)

var namespaces = flag.Int("namespaces", 20, "how many namespaces TestScale has")

const (
	// profiles are as many secrets in each namespace. The default account names them all.
	profiles = 3
	// foreignSize is how large the secrets of others are that are there already, one in each of the first namespaces.
	foreignSize, maxForeign = 500 << 10, 200
)

// A contestant keeps the pull secrets of a cluster.
type contestant interface {
	// pass makes them as they should be, with these passwords, by profile.
	pass(ctx context.Context, passwords []string) error
}

// TestScale has contestants make the same pull secrets in clusters of their own, look whether they are still as they
// should be, and renew them all. What each did is counted, and printed with the time and the memory that it took.
func TestScale(t *testing.T) {
	bin, err := testtool.ControlPlane()
	if err != nil {
		testtool.Missing(t, err.Error())
	}
	log.SetLogger(logr.Discard()) // That of envtest, which prints a stack if there is none.
	n := *namespaces
	t.Logf("%d namespaces x %d profiles", n, profiles)
	t.Logf("%10s %10s %8s %14s %11s %7s %6s %7s %8s %8s",
		"who", "pass", "seconds", "server CPU, s", "own CPU, s", "writes", "reads", "MB up", "MB down", "heap, MB")
	contestants := map[string]func(*testing.T, *rest.Config, int) contestant{"regcred": newRegcred, "plain loop": newPlain}
	for name, newContestant := range contestants {
		t.Run(name, func(t *testing.T) {
			environment := newEnvironment(bin)
			config, err := environment.Start()
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, environment.Stop()) })
			admin, err := kube.NewClient(config)
			require.NoError(t, err)
			require.NoError(t, furnish(t.Context(), admin, n))

			m, profiler := &meter{}, newProfiler(admin, environment)
			who := newContestant(t, m.through(withToken(t, admin, config)), n)
			measure := func(pass string, passwords []string) cost {
				stop := func() {}
				c := m.measure(t, func() error {
					if pass != "unchanged" { // It is shorter than a profile.
						stop = profiler.start(t, name+" "+pass)
					}
					return who.pass(t.Context(), passwords)
				})
				stop()
				t.Logf("%10s %10s %8.1f %14.1f %11.1f %7d %6d %7.1f %8.1f %8.1f", name, pass,
					c.wall.Seconds(), c.server.Seconds(), c.own.Seconds(), c.writes, c.reads, c.up, c.down, c.heap)
				return c
			}
			old, renewed := passwordsOf("old"), passwordsOf("new")
			first, unchanged, rotation := measure("first", old), measure("unchanged", old), measure("rotation", renewed)

			checkAll(t, admin, n, renewed)
			if name != "regcred" {
				return
			}
			require.EqualValues(t, n*(profiles+1), first.writes, "one for each secret, and one for the account that names them")
			require.EqualValues(t, 3, first.reads, "a list of each kind, however many namespaces there are")
			require.Less(t, first.down, float64(n*profiles*20_000+min(n, maxForeign)*foreignSize/2)/1e6, "secrets of others are not read")
			require.Zero(t, unchanged.writes+unchanged.reads)
			require.EqualValues(t, n*profiles, rotation.writes)
			require.Zero(t, rotation.reads)
		})
	}
}

func namespace(i int) string { return fmt.Sprintf("team-%d", i) }

func secretName(profile int) string { return fmt.Sprintf("regcred-%d", profile) }

// passwordsOf returns one for each profile, as long as a token of AWS ECR.
func passwordsOf(word string) []string {
	passwords := make([]string, profiles)
	for i := range passwords {
		passwords[i] = strings.Repeat(fmt.Sprintf("%s-%d.", word, i), 2048/6)
	}
	return passwords
}

// furnish makes the namespaces, with what is in them before anybody comes.
func furnish(ctx context.Context, client kubernetes.Interface, n int) error {
	foreign := map[string][]byte{"data": make([]byte, foreignSize)}
	return each(n, func(i int) error {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace(i)}}
		if _, err := client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil {
			return err
		}
		account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
		if _, err := client.CoreV1().ServiceAccounts(namespace(i)).Create(ctx, account, metav1.CreateOptions{}); err != nil {
			return err
		}
		if i >= maxForeign {
			return nil
		}
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "foreign"}, Data: foreign}
		_, err := client.CoreV1().Secrets(namespace(i)).Create(ctx, secret, metav1.CreateOptions{})
		return err
	})
}

// checkAll reads everything back.
func checkAll(t *testing.T, client kubernetes.Interface, n int, passwords []string) {
	t.Helper()
	require.NoError(t, each(n, func(i int) error {
		account, err := client.CoreV1().ServiceAccounts(namespace(i)).Get(t.Context(), "default", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if len(account.ImagePullSecrets) != profiles {
			return fmt.Errorf("the account of %s names %v", namespace(i), account.ImagePullSecrets)
		}
		for p, password := range passwords {
			s, err := client.CoreV1().Secrets(namespace(i)).Get(t.Context(), secretName(p), metav1.GetOptions{})
			if err != nil {
				return err
			}
			config, err := pullsecret.Parse(s.Data[pullsecret.SecretKey])
			if err != nil {
				return err
			}
			if found := config.Match(image(p)); len(found) != 1 || found[0].Credential.Password.Reveal() != password {
				return fmt.Errorf("secret %s/%s does not hold the password", namespace(i), s.Name)
			}
		}
		return nil
	}))
}

// each calls f for all numbers below n, 32 at a time, and returns the first error.
func each(n int, f func(i int) error) error {
	var (
		working sync.WaitGroup
		mu      sync.Mutex
		first   error
		next    = make(chan int)
	)
	for range 32 {
		working.Go(func() {
			for i := range next {
				if err := f(i); err != nil {
					mu.Lock()
					if first == nil {
						first = err
					}
					mu.Unlock()
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	working.Wait()
	return first
}
