package kubeletmatch_test

import (
	"cmp"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/credentialprovider"
	"k8s.io/kubernetes/pkg/credentialprovider/secrets"
	"k8s.io/kubernetes/pkg/util/parsers"
)

// A source is the content of one secret.
type source struct {
	text string
	bare bool // The secret has type kubernetes.io/dockercfg.
}

// A login is the login that the kubelet would pass to the container runtime.
type login struct{ username, password string }

// keyring returns a kubelet's keyring for the secrets of a pod, or the error that prevents the pull.
func keyring(sources ...source) (credentialprovider.DockerKeyring, error) {
	list := make([]v1.Secret, len(sources))
	for i, s := range sources {
		list[i] = v1.Secret{Type: v1.SecretTypeDockerConfigJson, Data: map[string][]byte{v1.DockerConfigJsonKey: []byte(s.text)}}
		if s.bare {
			list[i] = v1.Secret{Type: v1.SecretTypeDockercfg, Data: map[string][]byte{v1.DockerConfigKey: []byte(s.text)}}
		}
		list[i].UID = types.UID(strconv.Itoa(i))
	}
	return secrets.MakeDockerKeyring(list, &credentialprovider.BasicDockerKeyring{})
}

// tries returns the logins that a kubelet tries, in order. The order within a group is random: the logins are under
// spellings of one key in one secret, which the kubelet decodes into a map.
func tries(t testing.TB, keyring credentialprovider.DockerKeyring, repository string) [][]login {
	found, _ := keyring.Lookup(repository)
	keys := matching(keyring, repository)
	require.Len(t, keys, len(found), "this test no longer understands the kubelet's code")
	var groups [][]login
	last := ""
	for i, f := range found {
		if group := keys[i] + " " + f.Source.Secret.UID; i == 0 || group != last {
			groups = append(groups, nil)
			last = group
		}
		groups[len(groups)-1] = append(groups[len(groups)-1], login{f.Username, f.Password})
	}
	for _, g := range groups {
		slices.SortFunc(g, compare)
	}
	return groups
}

func compare(a, b login) int {
	return cmp.Or(strings.Compare(a.username, b.username), strings.Compare(a.password, b.password))
}

// matching returns the key of each login that Lookup returns. It reads the keyring's own index, which is in an
// unexported field.
func matching(keyring credentialprovider.DockerKeyring, repository string) []string {
	union, ok := keyring.(credentialprovider.UnionDockerKeyring)
	if !ok {
		return nil // All secrets are empty.
	}
	basic := reflect.ValueOf(union[0]).Elem()
	index, logins := basic.FieldByName("index"), basic.FieldByName("creds")
	var keys []string
	add := func(key string) {
		if list := logins.MapIndex(reflect.ValueOf(key)); list.IsValid() {
			keys = append(keys, slices.Repeat([]string{key}, list.Len())...)
		}
	}
	for i := range index.Len() {
		if ok, _ := credentialprovider.URLsMatchStr(index.Index(i).String(), repository); ok {
			add(index.Index(i).String())
		}
	}
	if found, _ := keyring.Lookup(repository); len(keys) == 0 && len(found) > 0 {
		add("index.docker.io")
	}
	return keys
}

func parse(s source) (pullsecret.Config, error) {
	if s.bare {
		return pullsecret.ParseDockercfg([]byte(s.text))
	}
	return pullsecret.Parse([]byte(s.text))
}

// agree fails the test unless both agree on the rejected secrets and, for each image, on the matching entries and their
// order. It returns the number of matches.
func agree(t testing.TB, images []string, sources ...source) (matched int) {
	t.Helper()
	configs := make([]pullsecret.Config, len(sources))
	for i, s := range sources {
		_, refused := keyring(s)
		c, err := parse(s)
		if s.text == "" {
			refused = err // A kubelet skips a secret that no API server stores.
		}
		if (refused == nil) != (err == nil) {
			t.Fatalf("secret %q: the kubelet says %v, Parse says %v", s.text, refused, err)
		}
		if err != nil {
			return 0
		}
		configs[i] = c
	}
	k, err := keyring(sources...)
	require.NoError(t, err)
	for _, name := range images {
		repository, _, _, err := parsers.ParseImageName(name)
		image, parseErr := registry.ParseImage(name)
		if err != nil || parseErr != nil {
			continue // Package registry decides which names are valid.
		}
		require.Equal(t, repository, image.Name(), "image %q", name)
		want := tries(t, k, repository)
		matches := pullsecret.MatchAll(image, configs...)
		if got := grouped(matches, want); !slices.EqualFunc(want, got, slices.Equal) {
			require.Equal(t, want, got, "image %q, secrets %q, matches %v", name, sources, matches)
		}
		matched += len(matches)
	}
	return matched
}

// grouped puts the matches into groups as large as those of want.
func grouped(matches []pullsecret.Match, want [][]login) [][]login {
	var groups [][]login
	for i := 0; len(matches) > 0; i++ {
		n := len(matches)
		if i < len(want) {
			n = min(n, len(want[i]))
		}
		groups = append(groups, logins(matches[:n]))
		matches = matches[n:]
	}
	return groups
}

func logins(matches []pullsecret.Match) []login {
	list := make([]login, len(matches))
	for i, m := range matches {
		list[i] = login{m.Credential.Username, m.Credential.Password.Reveal()}
	}
	slices.SortFunc(list, compare)
	return list
}

// TestMain silences the kubelet's code, which logs each key that it cannot parse.
func TestMain(m *testing.M) {
	klog.SetLogger(logr.Discard())
	m.Run()
}
