package helper_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/helper"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/custom"
	"github.com/regcred/regcred/registry"
)

var team = registry.Profile{Name: "team", Kind: registry.Custom, Endpoint: "ghcr.io/team", Login: credentials.Login{
	Username: "team-bot", Password: credentials.NewSecret("example"),
}}

// A kubelet starts the plugin's program for each pull and sends the request to its standard input.
func ExampleHelper_Kubelet() {
	h := &helper.Helper{Profiles: []registry.Profile{team}, Provider: custom.Provider{}}
	request := strings.NewReader(`{
		"kind": "CredentialProviderRequest", "apiVersion": "credentialprovider.kubelet.k8s.io/v1", "image": "ghcr.io/team/app"
	}`)
	if err := h.Kubelet(context.Background(), request, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	// Output:
	// {"kind":"CredentialProviderResponse","apiVersion":"credentialprovider.kubelet.k8s.io/v1","cacheKeyType":"Image","cacheDuration":"5m0s","auth":{"ghcr.io/team":{"username":"team-bot","password":"example"}}}
}

// The program is named docker-credential-NAME, and its argument is the action. An error goes to standard output.
func ExampleHelper_Docker() {
	h := &helper.Helper{Profiles: []registry.Profile{team}, Provider: custom.Provider{}}
	for _, address := range []string{"https://ghcr.io", "quay.io"} {
		if err := h.Docker(context.Background(), "get", strings.NewReader(address), os.Stdout); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// {"Secret":"example","ServerURL":"https://ghcr.io","Username":"team-bot"}
	// credentials not found in native keychain
}

// The second process finds the token of the first one on the disk.
func ExampleDisk() {
	folder, err := os.MkdirTemp("", "regcred-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(folder)
	issued := 0
	cloud := registry.Profile{Name: "cloud", Kind: registry.Custom, Endpoint: "registry.example.com", Login: credentials.Login{Ambient: true}}
	issuer := providers.Func(func(context.Context, registry.Profile) (credentials.Credential, error) {
		issued++
		return credentials.Credential{Username: "token", Password: credentials.NewSecret("t0k3n"), ExpiresAt: time.Now().Add(time.Hour)}, nil
	})
	for range 2 {
		h := &helper.Helper{Profiles: []registry.Profile{cloud}, Provider: issuer, Disk: &helper.Disk{Dir: folder}}
		if err := h.Docker(context.Background(), "get", strings.NewReader("registry.example.com"), os.Stdout); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println("issued:", issued)
	// Output:
	// {"Secret":"t0k3n","ServerURL":"registry.example.com","Username":"token"}
	// {"Secret":"t0k3n","ServerURL":"registry.example.com","Username":"token"}
	// issued: 1
}

// Each audience has an entry, and a program, of its own.
func ExampleKubeletConfig() {
	pod := registry.Profile{Name: "zot", Kind: registry.Custom, Endpoint: "zot.example.com", Login: credentials.Login{
		Federated: &credentials.FederatedLogin{
			Subject:  credentials.Subject{Source: helper.Pod, Audience: "https://zot.example.com"},
			Exchange: credentials.Exchange{Password: &credentials.PasswordExchange{}},
		},
	}}
	config := helper.KubeletConfig{
		Name: "regcred-credential-provider", Args: []string{"-profiles", "/etc/regcred/profiles.yaml"},
		Profiles: []registry.Profile{team, pod},
	}
	text, err := config.JSON()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s", text)
	// Output:
	// {
	//   "apiVersion": "kubelet.config.k8s.io/v1",
	//   "kind": "CredentialProviderConfig",
	//   "providers": [
	//     {
	//       "name": "regcred-credential-provider",
	//       "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
	//       "matchImages": [
	//         "ghcr.io/team"
	//       ],
	//       "defaultCacheDuration": "0s",
	//       "args": [
	//         "-profiles",
	//         "/etc/regcred/profiles.yaml"
	//       ]
	//     },
	//     {
	//       "name": "regcred-credential-provider-1",
	//       "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
	//       "matchImages": [
	//         "zot.example.com"
	//       ],
	//       "defaultCacheDuration": "0s",
	//       "args": [
	//         "-profiles",
	//         "/etc/regcred/profiles.yaml"
	//       ],
	//       "tokenAttributes": {
	//         "serviceAccountTokenAudience": "https://zot.example.com",
	//         "cacheType": "Token",
	//         "requireServiceAccount": true
	//       }
	//     }
	//   ]
	// }
}

// Clients recognize the error by its text and continue without a login.
func ExampleErrHelperNotFound() {
	h := &helper.Helper{Profiles: []registry.Profile{team}, Provider: custom.Provider{}}
	err := h.Docker(context.Background(), "get", strings.NewReader("quay.io"), os.Stdout)
	fmt.Println(errors.Is(err, helper.ErrHelperNotFound))
	// Output: true
}
