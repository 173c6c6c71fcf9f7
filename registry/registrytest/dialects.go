package registrytest

import (
	"strings"
	"time"
)

// Dialects returns all known dialects. The caller owns the list.
func Dialects() []Dialect {
	return []Dialect{
		DockerHub(), ECR(), ECRPublic(), GCR(), ArtifactRegistry(), Quay(), NexusBasic(), NexusBearer(), Artifactory(),
		MCR(), ACR(), Harbor(), GHCR(), GitLab(), DistributionBasic(), DistributionToken(), Zot(), Gitea(), Forgejo(),
	}
}

const (
	// The account and the registry in ECR's messages.
	ecrAccount = "123456789012"
	ecrRegion  = "us-east-1"

	wholeAnswer = `{"token":"{token}","access_token":"{token}","expires_in":{expires_in},"issued_at":"{issued_at}"}`
	justToken   = `{"token":"{token}"}`
	expiresIn   = `{"token":"{token}","expires_in":{expires_in}}`

	bearerSelf = `Bearer realm="{scheme}://{host}/v2/token",service="{host}"[,scope="{scope}"]`
)

func apiVersion() map[string]string {
	return map[string]string{"Docker-Distribution-Api-Version": "registry/2.0"}
}

var (
	unauthorized    = oci(401, "UNAUTHORIZED", "authentication required", "{access}")
	nameUnknown     = oci(404, "NAME_UNKNOWN", "repository name not known to registry", `{"name":"{repository}"}`)
	manifestUnknown = oci(404, "MANIFEST_UNKNOWN", "manifest unknown", `"unknown tag={reference}"`)
	tooManyRequests = oci(429, "TOOMANYREQUESTS", "too many requests", "")
	tooManyN        = oci(400, "PAGINATION_NUMBER_INVALID", "invalid number of results requested", "")
	ociNeedsAccept  = oci(404, "MANIFEST_UNKNOWN", "OCI manifest or index found, but accept header does not support it", "")
)

// DockerHub is Docker Hub: https://docs.docker.com/docker-hub/ and
// https://docs.docker.com/reference/api/registry/latest/. It hides whether a repository exists, and counts pulls.
func DockerHub() Dialect {
	challenge := `Bearer realm="{scheme}://{tokenhost}/token",service="registry.docker.io"[,scope="{scope}"]`
	hidden := unauthorized.with(challenge + `,error="insufficient_scope"`)
	limited := oci(429, "TOOMANYREQUESTS",
		"You have reached your unauthenticated pull rate limit. https://www.docker.com/increase-rate-limit", "")
	return Dialect{
		Name:   "dockerhub",
		header: apiVersion(),
		token: tokenEndpoint{
			path:              "/token",
			otherHost:         true,
			badLogin:          Answer{Status: 401, Body: `{"details":"incorrect username or password"}`},
			knowsRepositories: true,
			ttl:               300 * time.Second,
			body:              wholeAnswer,
		},
		unauthorized:      unauthorized.with(challenge),
		badToken:          unauthorized.with(challenge + `,error="invalid_token"`),
		hides:             true,
		denied:            hidden,
		repositoryMissing: hidden,
		manifestMissing:   manifestUnknown,
		rateLimited:       limited,
		rateHeaders:       true,
		tags:              listing{pageSize: 100, maxSize: 1000},
		catalog:           catalog{who: catalogForNobody, no: hidden},
	}
}

// ECR is a private registry of AWS: https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html. AWS
// issues its passwords, which are valid for 12 hours; see [Registry.Authenticate].
func ECR() Dialect {
	return ECRFor("arn:aws:iam::"+ecrAccount+":user/{account}", "arn:aws:ecr:"+ecrRegion+":"+ecrAccount)
}

// ECRFor is [ECR] with other names in its messages: user is the ARN of the client, in which {account} is replaced by
// the user name, and registry is the ARN of the registry, such as "arn:aws-cn:ecr:cn-north-1:123456789012".
func ECRFor(user, registry string) Dialect {
	denied := `User: ` + user + ` is not authorized to perform: ecr:BatchGetImage on resource: ` + registry +
		`:repository/{repository} because no identity-based policy allows the ecr:BatchGetImage action`
	challenge := `Basic realm="{scheme}://{host}/",service="ecr.amazonaws.com"`
	invalid := func(parameter, value string) Answer {
		return oci(405, "UNSUPPORTED", "Invalid parameter at '"+parameter+"' failed to satisfy constraint: '"+value+"'", "")
	}
	expired := oci(403, "DENIED", "Your authorization token has expired. Reauthenticate and try again.", "")
	missing := "The repository with name '{repository}' does not exist in the registry with id '" +
		registry[strings.LastIndexByte(registry, ':')+1:] + "'"
	list := listing{
		pageSize: 100, maxSize: 1000, tooMany: invalid("maxResults", "Member must have value less than or equal to 1000"),
		cursor: "last", badLast: invalid("nextToken", "Invalid token"),
	}
	return Dialect{
		Name:              "ecr",
		header:            apiVersion(),
		unauthorized:      Answer{Status: 401, Challenge: challenge, Body: "Not Authorized\n"},
		expiredLogin:      expired,
		basicRefused:      expired,
		denied:            oci(403, "DENIED", denied, ""),
		repositoryMissing: oci(404, "NAME_UNKNOWN", missing, ""),
		manifestMissing:   oci(404, "MANIFEST_UNKNOWN", "Requested image not found", ""),
		pushMissing:       Answer{Cut: true},
		rateLimited:       oci(429, "TOOMANYREQUESTS", "Rate exceeded", ""),
		noDigestOnGET:     true,
		tags:              list,
		catalog:           catalog{listing: list},
	}
}

// ECRPublic is AWS's public.ecr.aws. It responds to an unknown token with 400.
func ECRPublic() Dialect {
	challenge := `Bearer realm="{scheme}://{host}/token/",service="public.ecr.aws",scope="aws"`
	invalid := oci(400, "DENIED", "Your Authorization Token is invalid.", "")
	expired := oci(403, "DENIED", "Your authorization token has expired. Reauthenticate and try again.", "")
	badPage := oci(405, "UNSUPPORTED", "Invalid parameter at 'nextToken' failed to satisfy constraint: 'Invalid token'", "")
	list := listing{pageSize: 1000, maxSize: 1000, tooMany: badPage, cursor: "last", badLast: badPage}
	return Dialect{
		Name:   "ecr-public",
		header: apiVersion(),
		token: tokenEndpoint{
			path:         "/token/",
			post:         Answer{Status: 405},
			badLogin:     expired,
			expiredLogin: expired,
			byAccount:    true,
			ttl:          time.Hour,
			body:         justToken,
		},
		bearerLogin:       true,
		unauthorized:      oci(401, "DENIED", "Not Authorized", "").with(challenge),
		basicRefused:      invalid,
		badToken:          invalid,
		denied:            oci(403, "DENIED", "Not Authorized", ""),
		repositoryMissing: oci(404, "NAME_UNKNOWN", "The repository with name '{repository}' does not exist", ""),
		manifestMissing:   oci(404, "MANIFEST_UNKNOWN", "Requested image not found", ""),
		pushMissing:       Answer{Cut: true},
		rateLimited:       oci(429, "TOOMANYREQUESTS", "Rate exceeded", ""),
		tags:              list,
		catalog:           catalog{who: catalogForNobody, no: oci(401, "DENIED", "Not Authorized", "").with(challenge)},
	}
}

// google is the common part of Google's two registries.
func google(name string) Dialect {
	const (
		resource   = `"projects/{project}/locations/us/repositories/{rest}" (or it may not exist)`
		permission = `"artifactregistry.repositories.downloadArtifacts"`
	)
	return Dialect{
		Name:   name,
		header: apiVersion(),
		token: tokenEndpoint{
			path:     "/v2/token",
			badLogin: oci(401, "UNAUTHORIZED", "authentication failed", ""),
			ttl:      12 * time.Hour, // As seen for anonymous tokens: less for an access token, which ends after an hour.
			body:     expiresIn,
		},
		basicRefused: oci(401, "UNAUTHORIZED", "No valid credential was supplied.", ""),
		badToken:     oci(401, "UNAUTHORIZED", "No valid credential was supplied.", ""),
		hides:        true,
		denied:       oci(403, "DENIED", "Permission "+permission+" denied on resource "+resource, ""),
		deniedAnonymous: oci(403, "DENIED", "Unauthenticated request. Unauthenticated requests do not have permission "+
			permission+" on resource "+resource, ""),
		repositoryMissing: oci(404, "NAME_UNKNOWN", `Repository "{repository}" not found`, ""),
		manifestMissing:   oci(404, "MANIFEST_UNKNOWN", `Failed to fetch "{reference}"`, ""),
		rateLimited:       oci(429, "TOOMANYREQUESTS", "Quota exceeded for quota metric 'Requests per project per region'.", ""),
		tags:              listing{googleMaps: true},
	}
}

// GCR is gcr.io: https://cloud.google.com/artifact-registry/docs/docker/authentication. It responds to a bad token with
// a 401 without a challenge.
func GCR() Dialect {
	d := google("gcr")
	d.token.post = Answer{Status: 404}
	d.unauthorized = oci(401, "UNAUTHORIZED", "not authenticated: No credential was supplied.", "").with(bearerSelf)
	return d
}

// ArtifactRegistry is Google's pkg.dev. It is like [GCR], but its token endpoint already rejects a login that has none
// of the requested rights.
func ArtifactRegistry() Dialect {
	d := google("gar")
	d.token.post = Answer{Status: 405}
	d.token.denied = d.denied
	d.unauthorized = oci(401, "UNAUTHORIZED", "not authenticated: No credential was supplied.", "").with(bearerSelf)
	d.ping = d.unauthorized.with(`Bearer realm="{scheme}://{host}/v2/token"`)
	return d
}

// ACR is Azure's azurecr.io: https://github.com/Azure/acr/blob/main/docs/AAD-OAuth.md. It never responds with 403. Its
// refresh tokens are the passwords of a user name that is all zeros.
//
// POST /oauth2/exchange with the form fields grant_type=access_token, service, which is the host, and access_token
// issues a refresh token that is valid for three hours. The access token of Microsoft Entra ID is the password of an
// account with the user name 00000000-0000-0000-0000-000000000000, so that a test can choose it. The refresh token is a
// password for that user name, and a parameter of POST /oauth2/token with grant_type=refresh_token.
func ACR() Dialect {
	challenge := `Bearer realm="{scheme}://{host}/oauth2/token",service="{host}"[,scope="{scope}"]`
	const visit = "authentication required, visit https://aka.ms/acr/authorization for more information."
	refused := oci(401, "UNAUTHORIZED", visit, "{access}").with(challenge)
	missing := oci(404, "MANIFEST_UNKNOWN", `manifest tagged by "{reference}" is not found`, `{"Tag":"{reference}"}`)
	return Dialect{
		Name:   "acr",
		header: apiVersion(),
		token: tokenEndpoint{
			path:          "/oauth2/token",
			service:       "{host}",
			passwordGrant: oci(400, "UNSUPPORTED", "grant_type password is not supported", ""),
			exchange:      "/oauth2/exchange",
			refreshTTL:    3 * time.Hour,
			anonymous:     anonymousWithRight,
			badLogin:      oci(401, "UNAUTHORIZED", visit, ""),
			ttl:           75 * time.Minute,
			body:          `{"access_token":"{token}"}`,
		},
		unauthorized:      refused,
		badToken:          refused.with(challenge + `,error="invalid_token"`),
		hides:             true,
		denied:            refused,
		repositoryMissing: missing,
		tagsMissing:       nameUnknown,
		manifestMissing:   missing,
		blocked: oci(403, "DENIED",
			"client with IP '{ip}' is not allowed access. Refer https://aka.ms/acr/firewall to grant access.", ""),
		rateLimited: tooManyRequests,
		tags:        listing{pageSize: 100},
		catalog:     catalog{listing: listing{pageSize: 100}},
	}
}

// MCR is Microsoft's mcr.microsoft.com. It is public and has no logins.
func MCR() Dialect {
	missing := oci(404, "MANIFEST_UNKNOWN", `manifest tagged by "{reference}" is not found`, `{"Tag":"{reference}"}`)
	return Dialect{
		Name:              "mcr",
		header:            apiVersion(),
		open:              true,
		repositoryMissing: missing,
		tagsMissing: Answer{
			Status: 404, Header: map[string]string{"Content-Type": "application/xml"},
			Body: `<?xml version="1.0" encoding="utf-8"?><Error><Code>BlobNotFound</Code>` +
				`<Message>The specified blob does not exist.</Message></Error>`,
		},
		manifestMissing: missing,
		rateLimited:     Answer{Status: 429, Body: "Ref A: 0F1C Ref B: LON04 Ref C: 2026-01-01T00:00:00Z"},
	}
}

// GHCR is GitHub's ghcr.io:
// https://docs.github.com/packages/working-with-a-github-packages-registry/working-with-the-container-registry. Its
// token endpoint already rejects a login that has none of the requested rights, and responds to a wrong login with 403.
func GHCR() Dialect {
	challenge := `Bearer realm="{scheme}://{host}/token",service="{host}",scope="{scope}"`
	noLogin := oci(401, "UNAUTHORIZED", "authentication required", "")
	denied := oci(403, "DENIED", "denied", "")
	return Dialect{
		Name:   "ghcr",
		header: apiVersion(),
		token: tokenEndpoint{
			path:              "/token",
			post:              Answer{Status: 405},
			anonymous:         anonymousWithRight,
			noLogin:           noLogin,
			badLogin:          denied,
			denied:            denied,
			knowsRepositories: true,
			ttl:               300 * time.Second,
			body:              justToken,
		},
		// The challenge of its ping has the scope of a repository that does not exist.
		ping:            noLogin.with(strings.Replace(challenge, "{scope}", "repository:user/image:pull", 1)),
		unauthorized:    noLogin.with(challenge),
		basicRefused:    denied,
		badToken:        denied,
		hides:           true,
		denied:          oci(403, "DENIED", "requested access to the resource is denied", ""),
		manifestMissing: oci(404, "MANIFEST_UNKNOWN", "manifest unknown", ""),
		notAcceptable:   oci(404, "MANIFEST_UNKNOWN", "OCI index found, but accept header does not support OCI indexes", ""),
		rateLimited:     tooManyRequests,
		tags:            listing{pageSize: 100, maxSize: 1000},
		catalog:         catalog{who: catalogForNobody, no: Answer{Status: 404, Body: "404 page not found\n"}},
	}
}
