package gcr_test

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/gcr"
	"github.com/regcred/regcred/providers/gcr/gcrtest"
	"github.com/regcred/regcred/registry"
)

// serveMetadata simulates a machine of Google Cloud for the test's process.
func serveMetadata(t *testing.T, m *gcrtest.Metadata) {
	t.Helper()
	s := httptest.NewServer(m)
	t.Cleanup(s.Close)
	t.Setenv("GCE_METADATA_HOST", strings.TrimPrefix(s.URL, "http://"))
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.json")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestMetadataServer(t *testing.T) {
	noAmbient(t)
	cloud := newGoogle()
	n := attach(t, cloud)
	serveMetadata(t, &gcrtest.Metadata{Google: cloud, Email: puller})
	for _, login := range []credentials.Login{{Ambient: true}, {Google: &credentials.GoogleLogin{}}} {
		c, err := through(n, gcr.Provider{}).Credential(t.Context(), profile(n, login))
		require.NoError(t, err)
		require.Equal(t, "oauth2accesstoken", c.Username)
		require.WithinDuration(t, time.Now().Add(time.Hour), c.ExpiresAt, time.Minute)
		require.True(t, c.IssuedAt.IsZero(), "the server may have had the token for long")
	}
	require.Empty(t, n.Dialed(), "the profile's proxy does not reach the machine's own server")
}

func TestMetadataServerFlakes(t *testing.T) {
	noAmbient(t)
	cloud := newGoogle()
	n := attach(t, cloud)
	m := &gcrtest.Metadata{Google: cloud, Email: puller, Flakes: 4}
	serveMetadata(t, m)
	c, err := through(n, gcr.Provider{}).Credential(t.Context(), profile(n, credentials.Login{Ambient: true}))
	require.ErrorIs(t, err, registry.ErrUnavailable, "three attempts are not enough")
	require.True(t, registry.CodeOf(err).Temporary())
	require.Equal(t, credentials.Credential{}, c, "a flake never makes a credential anonymous")

	c, err = through(n, gcr.Provider{}).Credential(t.Context(), profile(n, credentials.Login{Ambient: true}))
	require.NoError(t, err, "a flake is not remembered")
	require.False(t, c.Anonymous)
}

func TestMetadataServerWithTokenAboutToEnd(t *testing.T) {
	noAmbient(t)
	cloud := newGoogle()
	n := attach(t, cloud)
	serveMetadata(t, &gcrtest.Metadata{Google: cloud, Email: puller, Left: 20 * time.Second})
	began := time.Now()
	c, err := through(n, gcr.Provider{}).Credential(t.Context(), profile(n, credentials.Login{Ambient: true}))
	require.NoError(t, err)
	require.WithinRange(t, c.ExpiresAt, began.Add(19*time.Second), time.Now().Add(21*time.Second), "the true end, in whole seconds")
}

// Such a token is not requested again before half of its remaining lifetime has passed.
func TestCacheWithTokenAboutToEnd(t *testing.T) {
	noAmbient(t)
	cloud := newGoogle()
	n := attach(t, cloud)
	serveMetadata(t, &gcrtest.Metadata{Google: cloud, Email: puller, Left: time.Minute})
	cache := new(credentials.Cache)
	p := profile(n, credentials.Login{Ambient: true})
	for range 100 {
		c, err := cache.Credential(t.Context(), providers.Key(gcr.Provider{}, p), providers.Source(gcr.Provider{}, p))
		require.NoError(t, err)
		require.NoError(t, c.Validate(time.Now()))
	}
	require.Len(t, cloud.Calls(), 1)
}

func TestNoAmbientIdentity(t *testing.T) {
	cloud := newGoogle()
	n := attach(t, cloud)
	for name, test := range map[string]struct {
		metadata *gcrtest.Metadata
		file     string
		want     registry.Code
		text     string
	}{
		"no service account":   {&gcrtest.Metadata{Google: cloud}, "", registry.ErrNoIdentity, "metadata server"},
		"nobody answers":       {nil, "", registry.ErrUnreachable, "connection refused"},
		"file is missing":      {nil, filepath.Join(t.TempDir(), "missing.json"), registry.ErrNoIdentity, "missing.json: no such file"},
		"file is no JSON":      {nil, writeFile(t, "hello"), registry.ErrNoIdentity, "holds no JSON"},
		"file of another kind": {nil, writeFile(t, `{"type":"magic"}`), registry.ErrNoIdentity, `unknown credential type: "magic"`},
	} {
		t.Run(name, func(t *testing.T) {
			noAmbient(t)
			if test.metadata != nil {
				serveMetadata(t, test.metadata)
			}
			t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", test.file)
			_, err := through(n, gcr.Provider{}).Credential(t.Context(), profile(n, credentials.Login{Ambient: true}))
			require.Equal(t, test.want, registry.CodeOf(err), err)
			require.ErrorContains(t, err, test.text)
		})
	}
}

// The hint names the variable only if the variable named the file.
func TestWellKnownFileThatCannotBeRead(t *testing.T) {
	n := attach(t, newGoogle())
	noAmbient(t)
	file := filepath.Join(os.Getenv("HOME"), ".config", "gcloud", "application_default_credentials.json")
	require.NoError(t, os.MkdirAll(file, 0o700)) // A directory.
	_, err := through(n, gcr.Provider{}).Credential(t.Context(), profile(n, credentials.Login{Ambient: true}))
	require.ErrorIs(t, err, registry.ErrNoIdentity)
	require.Contains(t, registry.HintOf(err), "make the file readable")
	require.NotContains(t, registry.HintOf(err), "GOOGLE_APPLICATION_CREDENTIALS")
}

// The server may not be Google's: the metadata server of another cloud has the same address.
func TestOtherMetadataServer(t *testing.T) {
	noAmbient(t)
	n := attach(t, newGoogle())
	s := httptest.NewServer(nil) // It responds with 404 and without the header.
	t.Cleanup(s.Close)
	t.Setenv("GCE_METADATA_HOST", strings.TrimPrefix(s.URL, "http://"))
	_, err := through(n, gcr.Provider{}).Credential(t.Context(), profile(n, credentials.Login{Ambient: true}))
	require.ErrorIs(t, err, registry.ErrNoIdentity)
	require.ErrorContains(t, err, "not a metadata server of Google")
}

func TestApplicationDefaultCredentials(t *testing.T) {
	cloud := newGoogle()
	n := attach(t, cloud)
	for name, file := range map[string]string{
		"key":    cloud.NewKey(puller).Reveal(),
		"person": cloud.UserCredentials("ann@example.com").Reveal(),
	} {
		t.Run(name, func(t *testing.T) {
			noAmbient(t)
			t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", writeFile(t, file))
			c, err := through(n, gcr.Provider{}).Credential(t.Context(), profile(n, credentials.Login{Ambient: true}))
			require.NoError(t, err)
			require.Equal(t, "oauth2accesstoken", c.Username)
		})
		t.Run(name+" where gcloud writes it", func(t *testing.T) {
			noAmbient(t)
			home := t.TempDir()
			t.Setenv("HOME", home)
			dir := filepath.Join(home, ".config", "gcloud")
			require.NoError(t, os.MkdirAll(dir, 0o700))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "application_default_credentials.json"), []byte(file), 0o600))
			_, err := through(n, gcr.Provider{}).Credential(t.Context(), profile(n, credentials.Login{Ambient: true}))
			require.NoError(t, err)
		})
	}
	t.Run("revoked login of a person", func(t *testing.T) {
		noAmbient(t)
		t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", writeFile(t, `{"type":"authorized_user","client_id":"x","client_secret":"y","refresh_token":"old"}`))
		_, err := through(n, gcr.Provider{}).Credential(t.Context(), profile(n, credentials.Login{Ambient: true}))
		require.ErrorIs(t, err, registry.ErrExpired)
		require.Contains(t, registry.HintOf(err), "gcloud auth application-default login")
	})
	t.Run("impersonation from the identity of the process", func(t *testing.T) {
		noAmbient(t)
		serveMetadata(t, &gcrtest.Metadata{Google: cloud, Email: middle})
		_, err := through(n, gcr.Provider{}).Credential(t.Context(), profile(n, googleLogin(credentials.GoogleLogin{Impersonate: puller})))
		require.NoError(t, err)
	})
}

// A program with untrusted profiles does not allow them to use its identity.
func TestProviderWithoutAmbient(t *testing.T) {
	noAmbient(t)
	cloud := newGoogle()
	n := attach(t, cloud)
	serveMetadata(t, &gcrtest.Metadata{Google: cloud, Email: puller})
	for _, login := range []credentials.Login{{Ambient: true}, {Google: &credentials.GoogleLogin{}}, googleLogin(credentials.GoogleLogin{Impersonate: builder})} {
		_, err := through(n, gcr.Provider{NoAmbient: true}).Credential(t.Context(), profile(n, login))
		require.ErrorIs(t, err, registry.ErrInvalid)
	}
	_, err := through(n, gcr.Provider{NoAmbient: true}).Credential(t.Context(), profile(n, googleLogin(credentials.GoogleLogin{Credentials: cloud.NewKey(puller)})))
	require.NoError(t, err)
	require.NotContains(t, cloud.Calls(), gcrtest.Call{Action: "metadata"})
}
