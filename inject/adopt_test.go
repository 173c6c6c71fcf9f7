package inject_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/inject/injecttest"
	"github.com/regcred/regcred/registry"
)

// An office is an issuer that many processes share.
type office struct {
	mu     sync.Mutex // Guards issued, and the adoptions of processes.
	issued int
	down   bool
	ahead  time.Duration // How far the clock of the calling process is ahead.
}

// A process is a program with a cache and a Syncer for each cluster.
type process struct {
	t       *testing.T
	office  *office
	cache   *credentials.Cache
	syncers []*inject.Syncer
	adopted []string
}

var sharedKey = credentials.NewSecret("0123456789abcdef")

func (o *office) process(t *testing.T, key credentials.Secret, clusters ...inject.Cluster) *process {
	p := &process{t: t, office: o, cache: &credentials.Cache{}}
	cacheKey := func(profile registry.Profile) credentials.Key {
		return credentials.Key{Issuer: profile.Endpoint, Login: profile.Login.Fingerprint()}
	}
	source := credentials.Func(func(context.Context) (credentials.Credential, error) {
		if o.down {
			return credentials.Credential{}, errors.New("issuer is down")
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		o.issued++
		now := time.Now().Add(o.ahead)
		return credentials.Credential{Username: "AWS", Password: credentials.NewSecret(fmt.Sprint("token-", o.issued)), IssuedAt: now, ExpiresAt: now.Add(12 * time.Hour)}, nil
	})
	for _, cluster := range clusters {
		p.syncers = append(p.syncers, &inject.Syncer{
			Cluster: cluster, AdoptionKey: key,
			Credential: func(ctx context.Context, profile registry.Profile) (credentials.Credential, error) {
				return p.cache.Credential(ctx, cacheKey(profile), source)
			},
			Lookup: func(profile registry.Profile) credentials.Entry {
				entry, _ := p.cache.Lookup(cacheKey(profile))
				entry.Key = cacheKey(profile)
				return entry
			},
			Adopt: func(profile registry.Profile, c credentials.Credential) bool {
				return p.cache.Adopt(cacheKey(profile), source, c)
			},
			OnAdopt: func(profile registry.Profile, namespace, secret string) {
				o.mu.Lock()
				defer o.mu.Unlock()
				p.adopted = append(p.adopted, profile.Name+" from "+namespace+"/"+secret)
			},
		})
	}
	return p
}

// sync makes a pass over all namespaces in each cluster, and returns the changes.
func (p *process) sync(targets ...inject.Target) int {
	p.t.Helper()
	n := 0
	for _, s := range p.syncers {
		result, err := s.Sync(p.t.Context(), targets)
		require.NoError(p.t, err)
		require.NoError(p.t, result.Err())
		n += len(result.Changed)
	}
	return n
}

func clusterOf(t *testing.T, namespaces int) *injecttest.Cluster {
	c := &injecttest.Cluster{}
	for i := range namespaces {
		require.NoError(t, c.CreateNamespace(t.Context(), fmt.Sprintf("team-%02d", i), nil))
	}
	return c
}

// password returns the published password.
func password(t *testing.T, c *injecttest.Cluster, namespace, name string) string {
	s, err := c.Secret(t.Context(), namespace, name)
	require.NoError(t, err)
	require.NotNil(t, s)
	return string(s.Data[".dockerconfigjson"])
}

// A restart costs no write, no call to an issuer, and one read for each credential.
func TestRestartIsFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster, o := clusterOf(t, 50), &office{}
		second := target("second", profile("ecr"), profile("quay")) // It shares a credential with the first.
		targets := []inject.Target{target("regcred", profile("ecr")), second}
		o.process(t, sharedKey, cluster).sync(targets...)
		issued, writes := o.issued, cluster.Writes()
		require.Equal(t, 2, issued)
		for range 3 {
			time.Sleep(time.Hour)
			p := o.process(t, sharedKey, cluster)
			reads := cluster.Reads()
			require.Zero(t, p.sync(targets...))
			require.Equal(t, 2, cluster.Reads()-reads)
			require.Len(t, p.adopted, 2)
			require.True(t, p.syncers[0].NextAt().After(time.Now().Add(5*time.Hour)))
			require.True(t, p.syncers[0].NextAt().Before(time.Now().Add(10*time.Hour)), "the renewal is due as if nothing had happened")
		}
		require.Equal(t, issued, o.issued)
		require.Equal(t, writes, cluster.Writes())

		o.down = true // The result is the same while the issuer is down.
		require.Zero(t, o.process(t, sharedKey, cluster).sync(targets...))
	})
}

// If a leader ends in the middle of a rotation, the next one makes the missing writes, and no others.
func TestLeaderEndsInARotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster, o := clusterOf(t, 50), &office{}
		tg := target("regcred", profile("ecr"))
		o.process(t, sharedKey, cluster).sync(tg)
		time.Sleep(11 * time.Hour)
		killed, writes := errors.New("killed"), atomic.Int64{}
		cluster.Before = func(context.Context, inject.Change) error {
			if writes.Add(1) > 20 {
				return fmt.Errorf("%w: %w", registry.ErrClusterUnavailable, killed)
			}
			return nil
		}
		p := o.process(t, sharedKey, cluster)
		_, err := p.syncers[0].Sync(t.Context(), []inject.Target{tg})
		require.ErrorIs(t, err, killed)
		cluster.Before = nil
		require.Equal(t, 30, o.process(t, sharedKey, cluster).sync(tg))
		require.Equal(t, 2, o.issued, "the next leader goes on with the credential of the one before it")
	})
}

// If a credential must not be adopted, the issuer is called, and the published secret is never replaced by a worse
// one.
func TestNotAdopted(t *testing.T) {
	tg := target("regcred", profile("ecr"))
	edited := func(change func(s *injecttest.SecretObject)) func(t *testing.T, c *injecttest.Cluster) {
		return func(t *testing.T, c *injecttest.Cluster) {
			for i := range 3 {
				ns := fmt.Sprintf("team-%02d", i)
				s, err := c.Secret(t.Context(), ns, "regcred")
				require.NoError(t, err)
				change(s)
				require.NoError(t, c.WriteSecret(t.Context(), ns, *s))
			}
		}
	}
	replace := func(old, new string) func(s *injecttest.SecretObject) {
		return func(s *injecttest.SecretObject) {
			require.Contains(t, s.Annotations[inject.AnnotationOrigin], old)
			s.Annotations[inject.AnnotationOrigin] = strings.ReplaceAll(s.Annotations[inject.AnnotationOrigin], old, new)
		}
	}
	for name, tc := range map[string]struct {
		key    string
		target func(*inject.Target)
		before func(t *testing.T, c *injecttest.Cluster)
		after  time.Duration
	}{
		"without a key":     {},
		"with another key":  {key: "fedcba9876543210"},
		"with another user": {key: "0123456789abcdef", target: func(t *inject.Target) { t.Profiles[0].Login.Username = "other" }},
		"with another password": {key: "0123456789abcdef", target: func(t *inject.Target) {
			t.Profiles[0].Login.Password = credentials.NewSecret("other")
		}},
		"with another tenant": {key: "0123456789abcdef", target: func(t *inject.Target) { t.Profiles[0].Tenant = "other" }},
		"with another proxy":  {key: "0123456789abcdef", target: func(t *inject.Target) { t.Profiles[0].Transport.Proxy = "http://proxy:3128" }},
		"of an edited content": {key: "0123456789abcdef", before: edited(func(s *injecttest.SecretObject) {
			s.Data[".dockerconfigjson"] = []byte(`{"auths":{"ecr.example.com":{"auth":"ZXZlOmh1bnRlcjI="}}}`)
		})},
		"of no content":        {key: "0123456789abcdef", before: edited(func(s *injecttest.SecretObject) { delete(s.Data, ".dockerconfigjson") })},
		"of a broken content":  {key: "0123456789abcdef", before: edited(func(s *injecttest.SecretObject) { s.Data[".dockerconfigjson"] = []byte("{") })},
		"with edited dates":    {key: "0123456789abcdef", before: edited(replace("12:00:00Z", "13:00:00Z"))},
		"with a broken origin": {key: "0123456789abcdef", before: edited(replace("Z", ""))},
		"that is due":          {key: "0123456789abcdef", after: 10 * time.Hour},
		"that is expired":      {key: "0123456789abcdef", after: 13 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cluster, o := clusterOf(t, 3), &office{}
				o.process(t, sharedKey, cluster).sync(tg)
				first := password(t, cluster, "team-00", "regcred")
				if tc.before != nil {
					tc.before(t, cluster)
				}
				time.Sleep(time.Minute + tc.after)
				wanted := target("regcred", profile("ecr"))
				if tc.target != nil {
					tc.target(&wanted)
				}
				o.down = true // Without a credential, the published secret stays.
				before := password(t, cluster, "team-00", "regcred")
				p := o.process(t, credentials.NewSecret(tc.key), cluster)
				result, err := p.syncers[0].Sync(t.Context(), []inject.Target{wanted})
				require.NoError(t, err)
				require.Error(t, result.Err())
				require.Equal(t, before, password(t, cluster, "team-00", "regcred"))

				o.down = false
				p = o.process(t, credentials.NewSecret(tc.key), cluster)
				require.Equal(t, 3, p.sync(wanted))
				require.Empty(t, p.adopted)
				require.Equal(t, 2, o.issued)
				require.NotEqual(t, first, password(t, cluster, "team-00", "regcred"))
			})
		})
	}
}

func TestAdoptionKeyThatIsTooShort(t *testing.T) {
	s := &inject.Syncer{Cluster: clusterOf(t, 1), Credential: (&issuer{}).Credential, AdoptionKey: credentials.NewSecret("secret")}
	_, err := s.Sync(t.Context(), nil)
	require.ErrorIs(t, err, registry.ErrInvalid)
	require.NotContains(t, err.Error(), "secret ")
}

// The key is rotated while processes are running: everything is signed again, and no issuer is called.
func TestKeyRotatedInARunningProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster, o := clusterOf(t, 5), &office{}
		tg, newKey := target("regcred", profile("ecr")), credentials.NewSecret("fedcba9876543210")
		leader, standby := o.process(t, sharedKey, cluster), o.process(t, sharedKey, cluster)
		leader.sync(tg)
		before := password(t, cluster, "team-00", "regcred")
		time.Sleep(time.Hour)

		s := leader.syncers[0]
		require.NoError(t, s.SetAdoptionKey(newKey))
		require.False(t, s.NextAt().After(time.Now()))
		result, err := s.SyncDue(t.Context())
		require.NoError(t, err)
		require.NoError(t, result.Err())
		require.Len(t, result.Changed, 5)
		for _, c := range result.Changed {
			require.Equal(t, "annotation "+inject.AnnotationOrigin, c.Reason)
		}
		require.Equal(t, before, password(t, cluster, "team-00", "regcred"))
		require.Zero(t, leader.sync(tg), "it is done once")

		require.NoError(t, standby.syncers[0].SetAdoptionKey(newKey))
		require.Zero(t, standby.sync(tg))
		require.Len(t, standby.adopted, 1)
		require.Zero(t, o.process(t, newKey, cluster).sync(tg), "and a new process")
		require.Equal(t, 1, o.issued)

		// Without the new key, a credential cannot be adopted, and the published one stays until there is a newer one.
		o.down = true
		result, err = o.process(t, sharedKey, cluster).syncers[0].Sync(t.Context(), []inject.Target{tg})
		require.NoError(t, err)
		require.Error(t, result.Err())
		require.Equal(t, before, password(t, cluster, "team-00", "regcred"))

		// A pass that is in progress may have used the previous key.
		require.NoError(t, s.SetAdoptionKey(sharedKey))
		var once sync.Once
		cluster.Before = func(context.Context, inject.Change) error {
			once.Do(func() { require.NoError(t, s.SetAdoptionKey(newKey)) })
			return nil
		}
		_, err = s.SyncDue(t.Context())
		require.NoError(t, err)
		require.False(t, s.NextAt().After(time.Now()))
		_, err = s.SyncDue(t.Context())
		require.NoError(t, err)
		require.True(t, s.NextAt().After(time.Now()))

		require.ErrorIs(t, s.SetAdoptionKey(credentials.NewSecret("short")), registry.ErrInvalid)
		require.True(t, s.NextAt().After(time.Now()), "the previous key stays in use")
		require.Zero(t, leader.sync(tg))
	})
}

// One edited secret does not prevent adoption from the others.
func TestAdoptedFromWhatIsNotEdited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster, o := clusterOf(t, 3), &office{}
		tg := target("regcred", profile("ecr"))
		o.process(t, sharedKey, cluster).sync(tg)
		good := password(t, cluster, "team-00", "regcred")
		s, err := cluster.Secret(t.Context(), "team-00", "regcred")
		require.NoError(t, err)
		s.Data[".dockerconfigjson"] = []byte(`{"auths":{"ecr.example.com":{"auth":"ZXZlOmh1bnRlcjI="}}}`)
		require.NoError(t, cluster.WriteSecret(t.Context(), "team-00", *s))
		p := o.process(t, sharedKey, cluster)
		require.Equal(t, 1, p.sync(tg), "the edited one is put right")
		require.Equal(t, []string{"ecr from team-01/regcred"}, p.adopted)
		require.Equal(t, good, password(t, cluster, "team-00", "regcred"))
		require.Equal(t, 1, o.issued)
	})
}

// The newest valid credential is adopted, whichever cluster or replica has it.
func TestNewestCredentialWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tg := target("regcred", profile("ecr"))
		old, new, o := clusterOf(t, 2), clusterOf(t, 2), &office{}
		o.process(t, sharedKey, old).sync(tg)
		time.Sleep(time.Hour)
		cutOff := o.process(t, sharedKey, new)
		cutOff.sync(tg)
		require.NotEqual(t, password(t, old, "team-00", "regcred"), password(t, new, "team-00", "regcred"))

		// One process that has both clusters adopts the newer credential, whichever cluster responds first.
		p := o.process(t, sharedKey, old, new)
		p.sync(tg)
		p.sync(tg)
		newest := password(t, new, "team-00", "regcred")
		require.Equal(t, newest, password(t, old, "team-00", "regcred"))
		require.Equal(t, 2, o.issued)

		// A leader issues a credential while a replica is cut off. The replica neither contests it nor issues another.
		c, err := p.syncers[0].Credential(t.Context(), tg.Profiles[0])
		require.NoError(t, err)
		time.Sleep(time.Hour)
		p.cache.Invalidate(p.syncers[0].Lookup(tg.Profiles[0]).Key, c)
		p.sync(tg)
		newest = password(t, new, "team-00", "regcred")
		writes := new.Writes()
		cutOff.sync(tg)
		require.Equal(t, newest, password(t, new, "team-00", "regcred"))
		require.Equal(t, writes, new.Writes())
		require.Equal(t, 3, o.issued)
		require.Len(t, cutOff.adopted, 1)
	})
}

// After a restore from an old etcd backup, the cached credential is newer. After a restart, the restored credential is
// adopted if it is valid.
func TestRestoredBackup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tg := target("regcred", profile("ecr"))
		cluster, o := clusterOf(t, 2), &office{}
		p := o.process(t, sharedKey, cluster)
		p.sync(tg)
		backup, err := cluster.Secret(t.Context(), "team-00", "regcred")
		require.NoError(t, err)
		time.Sleep(11 * time.Hour)
		_, err = p.syncers[0].Credential(t.Context(), tg.Profiles[0]) // It is stale, so a renewal begins.
		require.NoError(t, err)
		synctest.Wait()
		p.sync(tg)
		newest := password(t, cluster, "team-00", "regcred")
		require.NoError(t, cluster.WriteSecret(t.Context(), "team-00", *backup))
		require.Equal(t, 1, p.sync(tg))
		require.Equal(t, newest, password(t, cluster, "team-00", "regcred"))

		require.NoError(t, cluster.WriteSecret(t.Context(), "team-00", *backup))
		p = o.process(t, sharedKey, cluster)
		require.Equal(t, 1, p.sync(tg))
		require.Equal(t, newest, password(t, cluster, "team-00", "regcred"), "the newest of the two is adopted")
		require.Equal(t, 2, o.issued)
	})
}

// A replica whose clock is ahead records a future issue time. Other replicas adopt its credentials, and do not contest
// them; after a renewal everything continues.
func TestClockSkewBetweenReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tg := target("regcred", profile("ecr"))
		cluster, o := clusterOf(t, 2), &office{}
		right := o.process(t, sharedKey, cluster)
		right.sync(tg)
		o.ahead = 20 * time.Minute
		ahead := o.process(t, credentials.NewSecret("another key that is"), cluster)
		ahead.sync(tg)
		published := password(t, cluster, "team-00", "regcred")
		o.ahead = 0
		result, err := right.syncers[0].Sync(t.Context(), []inject.Target{tg})
		require.NoError(t, err)
		require.ErrorIs(t, result.Err(), registry.ErrOlderCredential, "it cannot adopt what another key has signed")
		require.Equal(t, published, password(t, cluster, "team-00", "regcred"))

		ahead.syncers[0].AdoptionKey = sharedKey
		ahead.sync(tg)
		require.Zero(t, right.sync(tg), "now it can")
		require.Len(t, right.adopted, 1)
		require.Equal(t, published, password(t, cluster, "team-00", "regcred"))
	})
}
