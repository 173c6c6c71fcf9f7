package images_test

import (
	"context"
	"fmt"
	"time"

	"github.com/regcred/regcred/systemregistry"
	"github.com/regcred/regcred/systemregistry/images"
)

// Releases never change, other tags are kept while they are among the newest ten or younger than a month, and each
// tenant has a quota.
func ExamplePolicy() {
	policies := []images.Policy{
		{Repositories: "*/releases/**", Immutable: true},
		{Repositories: "*/builds/**", KeepTags: 10, KeepFor: 30 * 24 * time.Hour},
		{Repositories: "tenant/**", MaxBytes: 100 << 30},
	}
	for _, p := range policies {
		fmt.Println(p.Repositories, p.Validate())
	}
	registry, err := systemregistry.Server{Policies: policies}.Open(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = registry.Close() }()
	removed, err := registry.Images().Collect(context.Background()) // Server.Run collects once a day.
	fmt.Println(len(removed.Tags), len(removed.Images), err)

	_, err = systemregistry.Server{Policies: []images.Policy{{Repositories: "team/**", KeepTags: -1}}}.Open(context.Background())
	fmt.Println(err != nil)
	// Output:
	// */releases/** <nil>
	// */builds/** <nil>
	// tenant/** <nil>
	// 0 0 <nil>
	// true
}
