package federated_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/internal/testtool"
	"github.com/regcred/regcred/providers/federated/federatedtest"
	"github.com/regcred/regcred/providers/issuertest"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/registry/registrytest/fakenet"
)

// byHand is the section of a guide with the commands that log in and pull without this library.
var byHand = regexp.MustCompile("(?s)## 3\\. Try it by hand\n.*?```sh\n(.*?)```")

// TestGuidesByHand runs the commands of each guide with the real curl, jq and skopeo, at the fakes under the vendors' names.
// Only kubectl is replaced, by a script that prints a token for the audience of its command line. So the requests in the
// guides are those that the vendors' fakes require.
func TestGuidesByHand(t *testing.T) {
	for _, tool := range []string{"bash", "curl", "jq", "skopeo"} {
		testtool.Need(t, tool)
	}
	issuer := issuertest.New("https://kubernetes.example.com", issuertest.RS256)
	const github = "repo:acme/web:ref:refs/heads/main"
	for guide, test := range map[string]struct {
		name, image string
		hosts       []string
		subject     string
	}{
		"quay":        {"acme+shop", "quay.io/acme/web:1", []string{"quay.io"}, puller},
		"artifactory": {"cluster", "acme.jfrog.io/docker/web:1", []string{"acme.jfrog.io"}, puller},
		"cloudsmith":  {"acme/puller", "docker.cloudsmith.io/acme/shop/web:1", []string{federatedtest.Cloudsmith}, puller},
		"chainguard":  {"720909c9f5279097d847ad02120c4c3ba3d4b8f3/a1b2c3d4e5f60718", "cgr.dev/acme.com/web:1", []string{federatedtest.Chainguard}, puller},
		"dockerhub":   {"5f0f4b8e-0c4e-4f43-9d0b-3c1f5a1f8a11", "docker.io/acme/web:1", []string{federatedtest.Docker}, github},
		"ibm":         {"Profile-b2f13064-2b8c-4e4b-9181-c1973a408e3c", "de.icr.io/acme/web:1", []string{federatedtest.IBM}, puller},
		"password":    {"", "zot.example.com/shop/web:1", nil, puller},
	} {
		t.Run(guide, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join("../../docs/keyless", guide+".md"))
			require.NoError(t, err)
			commands := byHand.FindSubmatch(text)
			require.NotNil(t, commands)

			// pull runs the commands at services that trust the subject.
			pull := func(subject string) (log []string, output string, err error) {
				trust := issuertest.Trust{Issuer: issuer.URL, Keys: issuer.JWKS, Subject: subject}
				server := &federatedtest.Server{Trust: trust, Name: test.name, User: "puller"}
				trust.Audiences = []string{"https://zot.example.com"}
				reg := &registrytest.Registry{
					Dialect: registrytest.DistributionToken(),
					Authenticate: func(username string, password credentials.Secret) (registrytest.Account, bool) {
						account := registrytest.Account{Username: username, Pull: []string{"*"}}
						if guide == "password" {
							_, err := trust.Verify(password.Reveal())
							return account, err == nil
						}
						return account, server.Issued(password.Reveal())
					},
				}
				endpoint, repository, _ := strings.Cut(test.image, "/")
				_, err = reg.Add(repository, registrytest.Image{})
				require.NoError(t, err)
				network, err := fakenet.New()
				require.NoError(t, err)
				defer network.Close()
				network.HandleRegistry(endpoint, reg)
				for _, host := range test.hosts {
					if host != endpoint {
						network.Handle(host, server)
						continue
					}
					network.Handle(host, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if strings.HasPrefix(r.URL.Path, "/oauth2/") || strings.HasPrefix(r.URL.Path, "/access/") {
							server.ServeHTTP(w, r)
							return
						}
						reg.ServeHTTP(w, r)
					}))
				}
				network.Handle("actions.example.com", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					_ = json.NewEncoder(w).Encode(map[string]string{"value": issuer.Token(github, r.URL.Query().Get("audience"), time.Minute)})
				}))

				folder := t.TempDir()
				audience := regexp.MustCompile(`--audience (\S+)`).FindSubmatch(commands[1])
				token := ""
				if audience != nil {
					token = issuer.Token(puller, string(audience[1]), 10*time.Minute)
				}
				require.NoError(t, os.WriteFile(filepath.Join(folder, "ca.crt"), []byte(network.CA), 0o600))
				require.NoError(t, os.WriteFile(filepath.Join(folder, "kubectl"), []byte("#!/bin/sh\necho "+token+"\n"), 0o700))
				environment := []string{
					"HOME=" + folder, "HTTPS_PROXY=" + network.URL, "NO_PROXY=", "PATH=" + folder + ":" + os.Getenv("PATH"),
					"CURL_CA_BUNDLE=" + filepath.Join(folder, "ca.crt"), "SSL_CERT_FILE=" + filepath.Join(folder, "ca.crt"),
					"ACTIONS_ID_TOKEN_REQUEST_TOKEN=job", "ACTIONS_ID_TOKEN_REQUEST_URL=https://actions.example.com/token?api-version=2.0",
				}
				script := "set -euo pipefail\n" + strings.ReplaceAll(string(commands[1]), "skopeo inspect", "skopeo --insecure-policy inspect")
				output, err = testtool.Run(t, environment, "bash", "-c", script)
				return server.Log(), output, err
			}
			log, output, err := pull(test.subject)
			require.NoError(t, err, output)
			require.Contains(t, output, `"Digest"`)
			if guide != "password" {
				require.NotEmpty(t, log)
			}
			_, _, err = pull("another")
			require.Error(t, err, "another subject does not pull")
		})
	}
}
