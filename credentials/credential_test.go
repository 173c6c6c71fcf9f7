package credentials_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
)

func ExampleStatic() {
	source := credentials.Static(credentials.Credential{
		Username: "jo",
		Password: credentials.NewSecret("s3cret"),
	})
	credential, err := source.Credential(context.Background())
	fmt.Println(credential.Username, credential.Password, err)

	_, err = credentials.Static(credentials.Credential{}).Credential(context.Background())
	fmt.Println(err)
	// Output:
	// jo [redacted] <nil>
	// credential is empty: the user name or the password is missing, and anonymous is not set
}

var noon = time.Date(2027, 1, 31, 12, 0, 0, 0, time.UTC)

func TestCredentialValidate(t *testing.T) {
	secret := credentials.NewSecret(canary)
	tests := map[string]struct {
		credential credentials.Credential
		want       error
	}{
		"nothing":                  {credentials.Credential{}, credentials.ErrEmpty},
		"no password":              {credentials.Credential{Username: "jo"}, credentials.ErrEmpty},
		"no user name":             {credentials.Credential{Password: secret}, credentials.ErrEmpty},
		"only an expiry":           {credentials.Credential{ExpiresAt: noon.Add(time.Hour)}, credentials.ErrEmpty},
		"anonymous":                {credentials.Credential{Anonymous: true}, nil},
		"anonymous with name":      {credentials.Credential{Anonymous: true, Username: "jo"}, credentials.ErrEmpty},
		"anonymous with password":  {credentials.Credential{Anonymous: true, Password: secret}, credentials.ErrEmpty},
		"anonymous, and over":      {credentials.Credential{Anonymous: true, ExpiresAt: noon}, credentials.ErrCredentialExpired},
		"for ever":                 {credentials.Credential{Username: "jo", Password: secret}, nil},
		"ends in an instant":       {credentials.Credential{Username: "jo", Password: secret, ExpiresAt: noon.Add(1)}, nil},
		"ends now":                 {credentials.Credential{Username: "jo", Password: secret, ExpiresAt: noon}, credentials.ErrCredentialExpired},
		"ends now, elsewhere":      {credentials.Credential{Username: "jo", Password: secret, ExpiresAt: noon.In(time.FixedZone("", 3600))}, credentials.ErrCredentialExpired},
		"issued as it ends":        {credentials.Credential{Username: "jo", Password: secret, IssuedAt: noon.Add(1), ExpiresAt: noon.Add(1)}, credentials.ErrImplausibleDates},
		"issued after its end":     {credentials.Credential{Username: "jo", Password: secret, IssuedAt: noon, ExpiresAt: noon.Add(-1)}, credentials.ErrImplausibleDates},
		"issued after now":         {credentials.Credential{Username: "jo", Password: secret, IssuedAt: noon.Add(time.Hour), ExpiresAt: noon.Add(2 * time.Hour)}, nil},
		"issued, without an end":   {credentials.Credential{Username: "jo", Password: secret, IssuedAt: noon.Add(time.Hour)}, nil},
		"of the year 1, and ended": {credentials.Credential{Username: "jo", Password: secret, ExpiresAt: time.Time{}.Add(1)}, credentials.ErrCredentialExpired},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := test.credential.Validate(noon)
			require.ErrorIs(t, err, test.want)
			requireNoLeak(t, fmt.Sprint(err))
		})
	}
}

func TestCredentialEqual(t *testing.T) {
	c := credentials.Credential{Username: "jo", Password: credentials.NewSecret("a"), IssuedAt: noon, ExpiresAt: noon.Add(time.Hour)}
	same := c
	same.Password, same.ExpiresAt = credentials.NewSecret("a"), c.ExpiresAt.In(time.FixedZone("", 3600))
	require.True(t, c.Equal(same))
	for name, change := range map[string]func(c *credentials.Credential){
		"Anonymous": func(c *credentials.Credential) { c.Anonymous = true },
		"Username":  func(c *credentials.Credential) { c.Username = "al" },
		"Password":  func(c *credentials.Credential) { c.Password = credentials.NewSecret("b") },
		"IssuedAt":  func(c *credentials.Credential) { c.IssuedAt = noon.Add(1) },
		"ExpiresAt": func(c *credentials.Credential) { c.ExpiresAt = time.Time{} },
	} {
		other := c
		change(&other)
		require.False(t, c.Equal(other), name)
		require.False(t, other.Equal(c), name)
	}
}

func TestCredentialLogs(t *testing.T) {
	c := credentials.Credential{Username: "jo", Password: credentials.NewSecret("a"), ExpiresAt: noon}
	require.Equal(t, "[username=jo expiresAt=2027-01-31 12:00:00 +0000 UTC]", c.LogValue().String())
	require.Equal(t, "[anonymous=true]", credentials.Credential{Anonymous: true}.LogValue().String())
}

func TestStatic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := credentials.Credential{Username: "jo", Password: credentials.NewSecret("a"), ExpiresAt: time.Now().Add(time.Minute)}
		source := credentials.Static(c)
		got, err := source.Credential(t.Context())
		require.NoError(t, err)
		require.True(t, got.Equal(c))

		cause := errors.New("the caller left")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		_, err = source.Credential(ctx)
		require.ErrorIs(t, err, cause)

		time.Sleep(time.Minute)
		got, err = source.Credential(t.Context())
		require.ErrorIs(t, err, credentials.ErrCredentialExpired)
		require.Zero(t, got)
	})
}

func TestSourceFunc(t *testing.T) {
	source := credentials.Func(func(ctx context.Context) (credentials.Credential, error) {
		return credentials.Credential{Anonymous: true}, ctx.Err()
	})
	c, err := source.Credential(t.Context())
	require.NoError(t, err)
	require.True(t, c.Anonymous)
}

// The monotonic clock stops while a machine is suspended, and package time prefers it if both times have one.
func TestExpiredByTheWallClock(t *testing.T) {
	now := time.Now()
	c := credentials.Credential{Username: "u", Password: credentials.NewSecret("p"), ExpiresAt: now.Add(-time.Minute)}
	(*struct {
		wall      uint64
		monotonic int64
		zone      *time.Location
	})(unsafe.Pointer(&now)).monotonic -= int64(time.Hour) // Only a suspended machine produces such a time.
	require.True(t, now.Before(c.ExpiresAt), "by the monotonic clock")
	require.True(t, c.Expired(now))
}
