package registrytest

import (
	"strings"
	"time"
)

// Dialects returns all known dialects. They may be changed.
func Dialects() []Dialect {
	return []Dialect{
		DockerHub(), ECR(), ECRPublic(), GCR(), ArtifactRegistry(), Quay(), NexusBasic(), NexusBearer(), Artifactory(),
		MCR(), ACR(), Harbor(), GHCR(), GitLab(), DistributionBasic(), DistributionToken(), Zot(), Gitea(),
	}
}

const (
	// These stand in what ECR says.
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
		Header: apiVersion(),
		Token: TokenEndpoint{
			Path:              "/token",
			OtherHost:         true,
			BadLogin:          Answer{Status: 401, Body: `{"details":"incorrect username or password"}`},
			KnowsRepositories: true,
			TTL:               300 * time.Second,
			Body:              wholeAnswer,
		},
		Unauthorized:      unauthorized.with(challenge),
		BadToken:          unauthorized.with(challenge + `,error="invalid_token"`),
		Hides:             true,
		Denied:            hidden,
		RepositoryMissing: hidden,
		ManifestMissing:   manifestUnknown,
		RateLimited:       limited,
		RateHeaders:       true,
		Tags:              Listing{Default: 100, Max: 1000},
		Catalog:           Catalog{For: CatalogForNobody, No: hidden},
	}
}

// ECR is a private registry of AWS: https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html. Its
// passwords come from AWS, for 12 hours: see [Registry.Authenticate].
func ECR() Dialect {
	denied := `User: arn:aws:iam::` + ecrAccount + `:user/{account} is not authorized to perform: ecr:BatchGetImage ` +
		`on resource: arn:aws:ecr:` + ecrRegion + `:` + ecrAccount + `:repository/{repository} ` +
		`because no identity-based policy allows the ecr:BatchGetImage action`
	challenge := `Basic realm="{scheme}://{host}/",service="ecr.amazonaws.com"`
	invalid := func(parameter, value string) Answer {
		return oci(405, "UNSUPPORTED", "Invalid parameter at '"+parameter+"' failed to satisfy constraint: '"+value+"'", "")
	}
	expired := oci(403, "DENIED", "Your authorization token has expired. Reauthenticate and try again.", "")
	missing := "The repository with name '{repository}' does not exist in the registry with id '" + ecrAccount + "'"
	list := Listing{
		Default: 100, Max: 1000, TooMany: invalid("maxResults", "Member must have value less than or equal to 1000"),
		Cursor: "last", BadLast: invalid("nextToken", "Invalid token"),
	}
	return Dialect{
		Name:              "ecr",
		Header:            apiVersion(),
		Unauthorized:      Answer{Status: 401, Challenge: challenge, Body: "Not Authorized\n"},
		ExpiredLogin:      expired,
		BasicRefused:      expired,
		Denied:            oci(403, "DENIED", denied, ""),
		RepositoryMissing: oci(404, "NAME_UNKNOWN", missing, ""),
		ManifestMissing:   oci(404, "MANIFEST_UNKNOWN", "Requested image not found", ""),
		PushMissing:       Answer{Cut: true},
		RateLimited:       oci(429, "TOOMANYREQUESTS", "Rate exceeded", ""),
		NoDigestOnGET:     true,
		Tags:              list,
		Catalog:           Catalog{Listing: list},
	}
}

// ECRPublic is AWS's public.ecr.aws. It answers a token that it does not know with 400.
func ECRPublic() Dialect {
	challenge := `Bearer realm="{scheme}://{host}/token/",service="public.ecr.aws",scope="aws"`
	invalid := oci(400, "DENIED", "Your Authorization Token is invalid.", "")
	expired := oci(403, "DENIED", "Your authorization token has expired. Reauthenticate and try again.", "")
	badPage := oci(405, "UNSUPPORTED", "Invalid parameter at 'nextToken' failed to satisfy constraint: 'Invalid token'", "")
	list := Listing{Default: 1000, Max: 1000, TooMany: badPage, Cursor: "last", BadLast: badPage}
	return Dialect{
		Name:   "ecr-public",
		Header: apiVersion(),
		Token: TokenEndpoint{
			Path:         "/token/",
			Post:         Answer{Status: 405},
			BadLogin:     expired,
			ExpiredLogin: expired,
			ByAccount:    true,
			TTL:          time.Hour,
			Body:         justToken,
		},
		BearerLogin:       true,
		Unauthorized:      oci(401, "DENIED", "Not Authorized", "").with(challenge),
		BasicRefused:      invalid,
		BadToken:          invalid,
		Denied:            oci(403, "DENIED", "Not Authorized", ""),
		RepositoryMissing: oci(404, "NAME_UNKNOWN", "The repository with name '{repository}' does not exist", ""),
		ManifestMissing:   oci(404, "MANIFEST_UNKNOWN", "Requested image not found", ""),
		PushMissing:       Answer{Cut: true},
		RateLimited:       oci(429, "TOOMANYREQUESTS", "Rate exceeded", ""),
		Tags:              list,
		Catalog:           Catalog{For: CatalogForNobody, No: oci(401, "DENIED", "Not Authorized", "").with(challenge)},
	}
}

// google is what both registries of Google share.
func google(name string) Dialect {
	const (
		resource   = `"projects/{project}/locations/us/repositories/{rest}" (or it may not exist)`
		permission = `"artifactregistry.repositories.downloadArtifacts"`
	)
	return Dialect{
		Name:   name,
		Header: apiVersion(),
		Token: TokenEndpoint{
			Path:     "/v2/token",
			BadLogin: oci(401, "UNAUTHORIZED", "authentication failed", ""),
			TTL:      12 * time.Hour, // As seen for anonymous tokens: less for an access token, which ends after an hour.
			Body:     expiresIn,
		},
		BasicRefused: oci(401, "UNAUTHORIZED", "No valid credential was supplied.", ""),
		BadToken:     oci(401, "UNAUTHORIZED", "No valid credential was supplied.", ""),
		Hides:        true,
		Denied:       oci(403, "DENIED", "Permission "+permission+" denied on resource "+resource, ""),
		DeniedAnonymous: oci(403, "DENIED", "Unauthenticated request. Unauthenticated requests do not have permission "+
			permission+" on resource "+resource, ""),
		RepositoryMissing: oci(404, "NAME_UNKNOWN", `Repository "{repository}" not found`, ""),
		ManifestMissing:   oci(404, "MANIFEST_UNKNOWN", `Failed to fetch "{reference}"`, ""),
		RateLimited:       oci(429, "TOOMANYREQUESTS", "Quota exceeded for quota metric 'Requests per project per region'.", ""),
		Tags:              Listing{GoogleMaps: true},
	}
}

// GCR is gcr.io: https://cloud.google.com/artifact-registry/docs/docker/authentication. A bad token gets a 401 without
// a challenge.
func GCR() Dialect {
	d := google("gcr")
	d.Token.Post = Answer{Status: 404}
	d.Unauthorized = oci(401, "UNAUTHORIZED", "not authenticated: No credential was supplied.", "").with(bearerSelf)
	return d
}

// ArtifactRegistry is Google's pkg.dev: as [GCR], but the token endpoint denies already.
func ArtifactRegistry() Dialect {
	d := google("gar")
	d.Token.Post = Answer{Status: 405}
	d.Token.Denied = d.Denied
	d.Unauthorized = oci(401, "UNAUTHORIZED", "not authenticated: No credential was supplied.", "").with(bearerSelf)
	d.Ping = d.Unauthorized.with(`Bearer realm="{scheme}://{host}/v2/token"`)
	return d
}

// ACR is Azure's azurecr.io: https://github.com/Azure/acr/blob/main/docs/AAD-OAuth.md. It has no 403; its refresh
// tokens are the passwords of a user that is all zeros.
func ACR() Dialect {
	challenge := `Bearer realm="{scheme}://{host}/oauth2/token",service="{host}"[,scope="{scope}"]`
	const visit = "authentication required, visit https://aka.ms/acr/authorization for more information."
	refused := oci(401, "UNAUTHORIZED", visit, "{access}").with(challenge)
	missing := oci(404, "MANIFEST_UNKNOWN", `manifest tagged by "{reference}" is not found`, `{"Tag":"{reference}"}`)
	return Dialect{
		Name:   "acr",
		Header: apiVersion(),
		Token: TokenEndpoint{
			Path:          "/oauth2/token",
			Service:       "{host}",
			PasswordGrant: oci(400, "UNSUPPORTED", "grant_type password is not supported", ""),
			Exchange:      "/oauth2/exchange",
			RefreshTTL:    3 * time.Hour,
			Anonymous:     AnonymousWithRight,
			BadLogin:      oci(401, "UNAUTHORIZED", visit, ""),
			TTL:           75 * time.Minute,
			Body:          `{"access_token":"{token}"}`,
		},
		Unauthorized:      refused,
		BadToken:          refused.with(challenge + `,error="invalid_token"`),
		Hides:             true,
		Denied:            refused,
		RepositoryMissing: missing,
		TagsMissing:       nameUnknown,
		ManifestMissing:   missing,
		Blocked: oci(403, "DENIED",
			"client with IP '{ip}' is not allowed access. Refer https://aka.ms/acr/firewall to grant access.", ""),
		RateLimited: tooManyRequests,
		Tags:        Listing{Default: 100},
		Catalog:     Catalog{Listing: Listing{Default: 100}},
	}
}

// MCR is Microsoft's mcr.microsoft.com: public, without any login.
func MCR() Dialect {
	missing := oci(404, "MANIFEST_UNKNOWN", `manifest tagged by "{reference}" is not found`, `{"Tag":"{reference}"}`)
	return Dialect{
		Name:              "mcr",
		Header:            apiVersion(),
		Open:              true,
		RepositoryMissing: missing,
		TagsMissing: Answer{
			Status: 404, Header: map[string]string{"Content-Type": "application/xml"},
			Body: `<?xml version="1.0" encoding="utf-8"?><Error><Code>BlobNotFound</Code>` +
				`<Message>The specified blob does not exist.</Message></Error>`,
		},
		ManifestMissing: missing,
		RateLimited:     Answer{Status: 429, Body: "Ref A: 0F1C Ref B: LON04 Ref C: 2026-01-01T00:00:00Z"},
	}
}

// GHCR is GitHub's ghcr.io:
// https://docs.github.com/packages/working-with-a-github-packages-registry/working-with-the-container-registry. Its
// token endpoint denies already, and answers a wrong login with 403.
func GHCR() Dialect {
	challenge := `Bearer realm="{scheme}://{host}/token",service="{host}",scope="{scope}"`
	noLogin := oci(401, "UNAUTHORIZED", "authentication required", "")
	denied := oci(403, "DENIED", "denied", "")
	return Dialect{
		Name:   "ghcr",
		Header: apiVersion(),
		Token: TokenEndpoint{
			Path:              "/token",
			Post:              Answer{Status: 405},
			Anonymous:         AnonymousWithRight,
			NoLogin:           noLogin,
			BadLogin:          denied,
			Denied:            denied,
			KnowsRepositories: true,
			TTL:               300 * time.Second,
			Body:              justToken,
		},
		// Its ping asks for a repository that nobody has.
		Ping:            noLogin.with(strings.Replace(challenge, "{scope}", "repository:user/image:pull", 1)),
		Unauthorized:    noLogin.with(challenge),
		BasicRefused:    denied,
		BadToken:        denied,
		Hides:           true,
		Denied:          oci(403, "DENIED", "requested access to the resource is denied", ""),
		ManifestMissing: oci(404, "MANIFEST_UNKNOWN", "manifest unknown", ""),
		NotAcceptable:   oci(404, "MANIFEST_UNKNOWN", "OCI index found, but accept header does not support OCI indexes", ""),
		RateLimited:     tooManyRequests,
		Tags:            Listing{Default: 100, Max: 1000},
		Catalog:         Catalog{For: CatalogForNobody, No: Answer{Status: 404, Body: "404 page not found\n"}},
	}
}
