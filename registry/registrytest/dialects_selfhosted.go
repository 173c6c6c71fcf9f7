package registrytest

import "time"

// Quay is quay.io and Red Hat Quay: https://docs.redhat.com/documentation/red_hat_quay. Its token endpoint does not say
// how long a token is good, and refuses scopes of other forms than its own.
func Quay() Dialect {
	refused := oci(401, "UNAUTHORIZED", "access to the requested resource is not authorized", "{}").with(
		`Bearer realm="{scheme}://{host}/v2/auth",service="{host}"[,scope="{scope}"]`)
	return Dialect{
		Name:   "quay",
		Header: apiVersion(),
		Token: TokenEndpoint{
			Path:      "/v2/auth",
			Post:      Answer{Status: 405},
			Anonymous: AnonymousWithScope,
			BadLogin:  oci(401, "UNAUTHORIZED", "Invalid Username or Password", "{}"),
			Scope:     `^repository:([\w.-]+(:\d+)?/)?[\w./-]+:(pull|push|\*)(,(pull|push|\*))*$`,
			BadScope:  oci(400, "INVALID_REQUEST", "Unable to decode repository and actions", "{}"),
			TTL:       time.Hour,
			Body:      justToken,
		},
		Unauthorized:      refused,
		BadToken:          refused,
		Hides:             true,
		Denied:            refused,
		RepositoryMissing: oci(404, "NAME_UNKNOWN", "repository not found", "{}"),
		ManifestMissing:   oci(404, "MANIFEST_UNKNOWN", "manifest unknown", "{}"),
		Blocked:           oci(405, "DENIED", "Namespace {project} has been disabled. Please contact a system administrator.", "{}"),
		RateLimited: Answer{Status: 429, Body: "<html>\r\n<head><title>429 Too Many Requests</title></head>\r\n" +
			"<body>\r\n<center><h1>429 Too Many Requests</h1></center>\r\n</body>\r\n</html>\r\n"},
		Tags:    Listing{Default: 50, Max: 100},
		Catalog: Catalog{Listing: Listing{Default: 50, Max: 100, Cursor: "next_page"}},
	}
}

// NexusBasic is Sonatype Nexus 3 with Basic authentication, the default of a repository.
func NexusBasic() Dialect {
	const refused = "access to the requested resource is not authorized"
	missing := oci(404, "MANIFEST_UNKNOWN", "manifest unknown", `[{"Name":"{repository}"},{"Revision":"{reference}"}]`)
	return Dialect{
		Name:   "nexus-basic",
		Header: apiVersion(),
		Unauthorized: oci(401, "UNAUTHORIZED", refused, "null").
			with(`BASIC realm="Sonatype Nexus Repository Manager"`),
		Denied:            oci(403, "UNAUTHORIZED", refused, "null"),
		RepositoryMissing: missing,
		TagsMissing:       nameUnknown,
		ManifestMissing:   missing,
		Blocked:           oci(403, "DENIED", "Requested item is quarantined", "null"),
	}
}

// NexusBearer is Sonatype Nexus 3 with the Docker Bearer Token Realm. Its tokens have no end.
func NexusBearer() Dialect {
	d := NexusBasic()
	d.Name = "nexus-bearer"
	d.Basic = true
	challenge := `Bearer realm="{scheme}://{host}/v2/token",service="{scheme}://{host}/v2/token"[,scope="repository:*:{actions}"]`
	d.Unauthorized = d.Unauthorized.with(challenge)
	d.BadToken = d.Unauthorized
	d.Token = TokenEndpoint{
		Path:      "/v2/token",
		Post:      Answer{Status: 404},
		Anonymous: AnonymousWithRight,
		BadLogin:  oci(401, "UNAUTHORIZED", "access to the requested resource is not authorized", "null"),
		ByAccount: true,
		Prefix:    "DockerToken.",
		Body:      justToken,
	}
	return d
}

// Artifactory is JFrog Artifactory by the repository path method: the first part of a repository is its key.
func Artifactory() Dialect {
	challenge := `Bearer realm="{scheme}://{host}/artifactory/api/docker/{key}/v2/token",service="{host}"[,scope="{scope}"]`
	badLogin := Answer{Status: 401, Body: `{"errors":[{"status":401,"message":"Bad credentials"}]}`}
	return Dialect{
		Name:   "artifactory",
		Header: apiVersion(),
		Token: TokenEndpoint{
			Path:      "/artifactory/api/docker/*/v2/token",
			Post:      Answer{Status: 405},
			Anonymous: AnonymousWithRight,
			NoLogin:   oci(401, "UNAUTHORIZED", "authentication required", "null"),
			BadLogin:  badLogin,
			ByAccount: true,
			TTL:       time.Hour,
			Body:      expiresIn,
		},
		Basic:             true,
		Unauthorized:      oci(401, "UNAUTHORIZED", "authentication required", "null").with(challenge),
		BadLogin:          badLogin,
		BadToken:          oci(401, "UNAUTHORIZED", "authentication required", "null").with(challenge),
		Denied:            oci(403, "UNAUTHORIZED", "The client does not have permission for manifest", `{"manifest":"{rest}"}`),
		RepositoryMissing: oci(404, "NAME_UNKNOWN", "Repository name not known to registry.", `{"name":"{repository}"}`),
		ManifestMissing:   oci(404, "MANIFEST_UNKNOWN", "The named manifest is not known to the registry.", `{"manifest":"{repository}"}`),
		Blocked:           oci(403, "DENIED", "Artifact download request rejected: the image was blocked by Xray", "null"),
		RateLimited:       tooManyRequests,
	}
}

// Harbor is Harbor, as its source reads. A wrong login that asks for a scope gets a token without rights.
func Harbor() Dialect {
	challenge := `Bearer realm="{scheme}://{host}/service/token",service="harbor-registry"[,scope="{scope}"]`
	basic := `Basic realm="harbor"`
	// Whoever has shown anything, be it an old token or one without the right, is asked for Basic.
	refused := oci(401, "UNAUTHORIZED", "unauthorized to access repository: {repository}, action: {actions}", "").with(basic)
	missing := oci(404, "NOT_FOUND", "artifact {repository}:{reference} not found", "")
	return Dialect{
		Name:   "harbor",
		Header: apiVersion(),
		Token: TokenEndpoint{
			Path:            "/service/token",
			Service:         "harbor-registry",
			BadService:      oci(400, "BAD_REQUEST", "Unable to handle service", ""),
			Post:            Answer{Status: 405},
			Anonymous:       AnonymousWithScope,
			BadLogin:        Answer{Status: 401},
			IgnoresBadLogin: true,
			TTL:             30 * time.Minute,
			Body:            `{"token":"{token}","access_token":"","expires_in":{expires_in},"issued_at":"{issued_at}"}`,
		},
		Basic:             true,
		Unauthorized:      refused.with(challenge),
		Ping:              oci(401, "UNAUTHORIZED", "unauthorized", "").with(challenge),
		BadLogin:          oci(401, "UNAUTHORIZED", "unauthorized", "").with(basic),
		BadToken:          refused,
		Hides:             true,
		Denied:            refused,
		ProjectMissing:    oci(401, "UNAUTHORIZED", "project {project} not found", ""),
		RepositoryMissing: missing,
		TagsMissing:       oci(404, "NOT_FOUND", "repository {repository} not found", ""),
		ManifestMissing:   missing,
		Blocked: oci(412, "PROJECTPOLICYVIOLATION", "current image with 3 vulnerabilities cannot be pulled due to configured policy in "+
			`'Prevent images with vulnerability severity of "High" or higher from running.'`, ""),
		RateLimited: oci(429, "TOO_MANY_REQUEST", "too many requests", ""),
		Catalog:     Catalog{For: CatalogForAdmins, No: oci(401, "UNAUTHORIZED", "unauthorized to list catalog", "").with(basic)},
	}
}

// GitLab is the container registry of GitLab:
// https://docs.gitlab.com/user/packages/container_registry/authenticate_with_container_registry/. Its tokens come from
// the host of GitLab itself, and a scope that is not granted is silently left out of them.
func GitLab() Dialect {
	challenge := `Bearer realm="{scheme}://{tokenhost}/jwt/auth",service="container_registry"[,scope="{scope}"]`
	forbidden := oci(403, "DENIED", "access forbidden", "")
	return Dialect{
		Name:   "gitlab",
		Header: apiVersion(),
		Token: TokenEndpoint{
			Path:       "/jwt/auth",
			OtherHost:  true,
			Service:    "container_registry",
			BadService: Answer{Status: 404},
			Post:       Answer{Status: 404},
			Anonymous:  AnonymousWithScope,
			NoLogin:    forbidden,
			BadLogin: oci(401, "UNAUTHORIZED", "HTTP Basic: Access denied. If a password was provided for Git authentication, "+
				"the password was incorrect or you're required to use a token instead of a password.", ""),
			NoRights: forbidden,
			TTL:      5 * time.Minute,
			Body:     justToken,
		},
		Unauthorized:      unauthorized.with(challenge),
		BadToken:          unauthorized.with(challenge + `,error="invalid_token"`),
		Hides:             true,
		Denied:            unauthorized.with(challenge + `,error="insufficient_scope"`),
		RepositoryMissing: manifestUnknown,
		TagsMissing:       nameUnknown,
		ManifestMissing:   manifestUnknown,
		NotAcceptable:     ociNeedsAccept,
		RateLimited:       tooManyRequests,
		Tags:              Listing{Default: 100, Max: 1000},
		Catalog:           Catalog{For: CatalogForAdmins, Listing: Listing{Default: 100, Max: 1000}},
	}
}

// DistributionBasic is the registry of the CNCF's distribution project with an htpasswd file. There, whoever has an
// account may do everything: give accounts the right to push to "*". One with less is denied with a 403, as by a proxy
// before the registry.
func DistributionBasic() Dialect {
	return Dialect{
		Name:              "distribution-basic",
		Header:            apiVersion(),
		Unauthorized:      unauthorized.with(`Basic realm="basic-realm"`),
		RepositoryMissing: manifestUnknown,
		TagsMissing:       nameUnknown,
		ManifestMissing:   manifestUnknown,
		NotAcceptable:     ociNeedsAccept,
		Tags:              Listing{},
		Catalog:           Catalog{Listing: Listing{Default: 100, Max: 1000, TooMany: tooManyN}},
	}
}

// DistributionToken is the same registry with a token server: https://distribution.github.io/distribution/spec/auth/.
// It has no 403.
func DistributionToken() Dialect {
	d := DistributionBasic()
	challenge := `Bearer realm="{scheme}://{host}/auth/token",service="registry"[,scope="{scope}"]`
	d.Name = "distribution-token"
	d.Token = TokenEndpoint{
		Path:     "/auth/token",
		BadLogin: oci(401, "UNAUTHORIZED", "authentication required", "null"),
		TTL:      time.Minute,
		Body:     wholeAnswer,
	}
	d.Unauthorized = unauthorized.with(challenge)
	d.BadToken = unauthorized.with(challenge + `,error="invalid_token"`)
	d.Hides = true
	d.Denied = unauthorized.with(challenge + `,error="insufficient_scope"`)
	d.Catalog.For = CatalogForAdmins
	d.Catalog.No = d.Denied
	return d
}

// Zot is the zot registry with htpasswd, as its source reads. The body of its 401 has no "errors" around it.
func Zot() Dialect {
	unauthorized := Answer{
		Status:    401,
		Challenge: `Basic realm="Authorization Required"`,
		Body:      `{"code":"UNAUTHORIZED","message":"authentication required","description":"The access controller was unable to authenticate the client."}`,
	}
	return Dialect{
		Name:              "zot",
		Header:            apiVersion(),
		Unauthorized:      unauthorized,
		Denied:            oci(403, "DENIED", "requested access to the resource is denied", `{}`).with(`Basic realm="Authorization Required"`),
		DeniedAnonymous:   unauthorized,
		RepositoryMissing: oci(404, "NAME_UNKNOWN", "repository name not known to registry", `{"name":"{repository}"}`),
		ManifestMissing:   oci(404, "MANIFEST_UNKNOWN", "manifest unknown", `{"reference":"{reference}"}`),
		Tags:              Listing{BadLast: nameUnknown},
	}
}

// Gitea is Gitea and Forgejo, as their source reads and as a sample of what else speaks the protocol: the challenge
// names the service that GitLab names and a scope that is none, and what is refused is refused in plain text.
func Gitea() Dialect {
	challenge := `Bearer realm="{scheme}://{host}/v2/token",service="container_registry",scope="*"`
	badLogin := Answer{Status: 401, Body: "authGroup.Verify\n"}
	return Dialect{
		Name:   "gitea",
		Header: apiVersion(),
		Token: TokenEndpoint{
			Path:      "/v2/token",
			Post:      Answer{Status: 404},
			BadLogin:  badLogin,
			ByAccount: true,
			TTL:       24 * time.Hour,
			Body:      justToken,
		},
		Basic:             true,
		Unauthorized:      oci(401, "UNAUTHORIZED", "authentication required", "").with(challenge),
		BadLogin:          badLogin,
		BadToken:          badLogin,
		Hides:             true,
		Denied:            Answer{Status: 401, Challenge: `Basic realm="Gitea Package API"`, Body: "reqPackageAccess\n"},
		RepositoryMissing: oci(404, "MANIFEST_UNKNOWN", "manifest unknown", ""),
		TagsMissing:       oci(404, "NAME_UNKNOWN", "repository name not known to registry", ""),
		ManifestMissing:   oci(404, "MANIFEST_UNKNOWN", "manifest unknown", ""),
	}
}
