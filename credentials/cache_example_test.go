package credentials_test

import (
	"context"
	"fmt"
	"time"

	"github.com/regcred/regcred/credentials"
)

// A source is bound to its key once, and can then be called any number of times.
func ExampleCache() {
	calls := 0
	issue := credentials.Func(func(context.Context) (credentials.Credential, error) {
		calls++ // One call at a time.
		return credentials.Credential{
			Username: "AWS", Password: credentials.NewSecret("a token"),
			IssuedAt: time.Now(), ExpiresAt: time.Now().Add(12 * time.Hour),
		}, nil
	})

	var cache credentials.Cache
	src := cache.Source(credentials.Key{Issuer: "ecr", Scope: "aws/eu-central-1"}, issue)
	for range 1000 {
		if _, err := src.Credential(context.Background()); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println("calls:", calls)

	// A registry rejected the credential because it was revoked.
	refused, _ := src.Credential(context.Background())
	src.Invalidate(refused)
	_, _ = src.Credential(context.Background())
	fmt.Println("calls:", calls)
	// Output:
	// calls: 1
	// calls: 2
}

// The password of a profile changes: the next caller gets the new one, and the cache drops the old one.
func ExampleCachedSource_Rebind() {
	login := func(password string) (credentials.Key, credentials.Source) {
		l := credentials.Login{Username: "ci", Password: credentials.NewSecret(password)}
		key := credentials.Key{Issuer: "custom", Scope: "registry.example.com", Login: l.Fingerprint()}
		return key, credentials.Static(credentials.Credential{Username: l.Username, Password: l.Password})
	}
	var cache credentials.Cache
	src := cache.Source(login("old"))
	before, _ := src.Credential(context.Background())

	src.Rebind(login("new"))
	after, _ := src.Credential(context.Background())
	fmt.Println("same password:", after.Password.Equal(before.Password))
	fmt.Println("keys in the cache:", len(cache.Snapshot()))
	// Output:
	// same password: false
	// keys in the cache: 1
}
