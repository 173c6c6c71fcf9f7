package registrytest

import "time"

// Quay is quay.io and Red Hat Quay: https://docs.redhat.com/documentation/red_hat_quay. Its token endpoint does not
// return the lifetime of a token, and rejects scopes that do not have its own form.
func Quay() Dialect {
	refused := oci(401, "UNAUTHORIZED", "access to the requested resource is not authorized", "{}").with(
		`Bearer realm="{scheme}://{host}/v2/auth",service="{host}"[,scope="{scope}"]`)
	return Dialect{
		Name:   "quay",
		header: apiVersion(),
		token: tokenEndpoint{
			path:      "/v2/auth",
			post:      Answer{Status: 405},
			anonymous: anonymousWithScope,
			badLogin:  oci(401, "UNAUTHORIZED", "Invalid Username or Password", "{}"),
			scope:     `^repository:([\w.-]+(:\d+)?/)?[\w./-]+:(pull|push|\*)(,(pull|push|\*))*$`,
			badScope:  oci(400, "INVALID_REQUEST", "Unable to decode repository and actions", "{}"),
			ttl:       time.Hour,
			body:      justToken,
		},
		unauthorized:      refused,
		badToken:          refused,
		hides:             true,
		denied:            refused,
		repositoryMissing: oci(404, "NAME_UNKNOWN", "repository not found", "{}"),
		manifestMissing:   oci(404, "MANIFEST_UNKNOWN", "manifest unknown", "{}"),
		blocked:           oci(405, "DENIED", "Namespace {project} has been disabled. Please contact a system administrator.", "{}"),
		rateLimited: Answer{Status: 429, Body: "<html>\r\n<head><title>429 Too Many Requests</title></head>\r\n" +
			"<body>\r\n<center><h1>429 Too Many Requests</h1></center>\r\n</body>\r\n</html>\r\n"},
		tags:    listing{pageSize: 50, maxSize: 100},
		catalog: catalog{listing: listing{pageSize: 50, maxSize: 100, cursor: "next_page"}},
	}
}

// NexusBasic is Sonatype Nexus 3 with Basic authentication, the default of a repository.
func NexusBasic() Dialect {
	const refused = "access to the requested resource is not authorized"
	missing := oci(404, "MANIFEST_UNKNOWN", "manifest unknown", `[{"Name":"{repository}"},{"Revision":"{reference}"}]`)
	return Dialect{
		Name:   "nexus-basic",
		header: apiVersion(),
		unauthorized: oci(401, "UNAUTHORIZED", refused, "null").
			with(`BASIC realm="Sonatype Nexus Repository Manager"`),
		denied:            oci(403, "UNAUTHORIZED", refused, "null"),
		repositoryMissing: missing,
		tagsMissing:       nameUnknown,
		manifestMissing:   missing,
		blocked:           oci(403, "DENIED", "Requested item is quarantined", "null"),
	}
}

// NexusBearer is Sonatype Nexus 3 with the Docker Bearer Token Realm. Its tokens do not expire.
func NexusBearer() Dialect {
	d := NexusBasic()
	d.Name = "nexus-bearer"
	d.basic = true
	challenge := `Bearer realm="{scheme}://{host}/v2/token",service="{scheme}://{host}/v2/token"[,scope="repository:*:{actions}"]`
	d.unauthorized = d.unauthorized.with(challenge)
	d.badToken = d.unauthorized
	d.token = tokenEndpoint{
		path:      "/v2/token",
		post:      Answer{Status: 404},
		anonymous: anonymousWithRight,
		badLogin:  oci(401, "UNAUTHORIZED", "access to the requested resource is not authorized", "null"),
		byAccount: true,
		prefix:    "DockerToken.",
		body:      justToken,
	}
	return d
}

// Artifactory is JFrog Artifactory with the repository path method: the first part of a repository is its key.
func Artifactory() Dialect {
	challenge := `Bearer realm="{scheme}://{host}/artifactory/api/docker/{key}/v2/token",service="{host}"[,scope="{scope}"]`
	badLogin := Answer{Status: 401, Body: `{"errors":[{"status":401,"message":"Bad credentials"}]}`}
	return Dialect{
		Name:   "artifactory",
		header: apiVersion(),
		token: tokenEndpoint{
			path:      "/artifactory/api/docker/*/v2/token",
			post:      Answer{Status: 405},
			anonymous: anonymousWithRight,
			noLogin:   oci(401, "UNAUTHORIZED", "authentication required", "null"),
			badLogin:  badLogin,
			byAccount: true,
			ttl:       time.Hour,
			body:      expiresIn,
		},
		basic:             true,
		unauthorized:      oci(401, "UNAUTHORIZED", "authentication required", "null").with(challenge),
		badLogin:          badLogin,
		badToken:          oci(401, "UNAUTHORIZED", "authentication required", "null").with(challenge),
		denied:            oci(403, "UNAUTHORIZED", "The client does not have permission for manifest", `{"manifest":"{rest}"}`),
		repositoryMissing: oci(404, "NAME_UNKNOWN", "Repository name not known to registry.", `{"name":"{repository}"}`),
		manifestMissing:   oci(404, "MANIFEST_UNKNOWN", "The named manifest is not known to the registry.", `{"manifest":"{repository}"}`),
		blocked:           oci(403, "DENIED", "Artifact download request rejected: the image was blocked by Xray", "null"),
		rateLimited:       tooManyRequests,
	}
}

// Harbor is Harbor, according to its source. A wrong login that requests a scope gets a token without rights.
func Harbor() Dialect {
	challenge := `Bearer realm="{scheme}://{host}/service/token",service="harbor-registry"[,scope="{scope}"]`
	basic := `Basic realm="harbor"`
	// A client with any token or login, even an expired token or one without the right, gets a Basic challenge.
	refused := oci(401, "UNAUTHORIZED", "unauthorized to access repository: {repository}, action: {actions}", "").with(basic)
	missing := oci(404, "NOT_FOUND", "artifact {repository}:{reference} not found", "")
	return Dialect{
		Name:   "harbor",
		header: apiVersion(),
		token: tokenEndpoint{
			path:            "/service/token",
			service:         "harbor-registry",
			badService:      oci(400, "BAD_REQUEST", "Unable to handle service", ""),
			post:            Answer{Status: 405},
			anonymous:       anonymousWithScope,
			badLogin:        Answer{Status: 401},
			ignoresBadLogin: true,
			ttl:             30 * time.Minute,
			body:            `{"token":"{token}","access_token":"","expires_in":{expires_in},"issued_at":"{issued_at}"}`,
		},
		basic:             true,
		unauthorized:      refused.with(challenge),
		ping:              oci(401, "UNAUTHORIZED", "unauthorized", "").with(challenge),
		badLogin:          oci(401, "UNAUTHORIZED", "unauthorized", "").with(basic),
		badToken:          refused,
		hides:             true,
		denied:            refused,
		projectMissing:    oci(401, "UNAUTHORIZED", "project {project} not found", ""),
		repositoryMissing: missing,
		tagsMissing:       oci(404, "NOT_FOUND", "repository {repository} not found", ""),
		manifestMissing:   missing,
		blocked: oci(412, "PROJECTPOLICYVIOLATION", "current image with 3 vulnerabilities cannot be pulled due to configured policy in "+
			`'Prevent images with vulnerability severity of "High" or higher from running.'`, ""),
		rateLimited: oci(429, "TOO_MANY_REQUEST", "too many requests", ""),
		catalog:     catalog{who: catalogForAdmins, no: oci(401, "UNAUTHORIZED", "unauthorized to list catalog", "").with(basic)},
	}
}

// GitLab is the container registry of GitLab:
// https://docs.gitlab.com/user/packages/container_registry/authenticate_with_container_registry/. GitLab's own host
// issues its tokens, and silently omits a scope that is not granted.
func GitLab() Dialect {
	challenge := `Bearer realm="{scheme}://{tokenhost}/jwt/auth",service="container_registry"[,scope="{scope}"]`
	forbidden := oci(403, "DENIED", "access forbidden", "")
	return Dialect{
		Name:   "gitlab",
		header: apiVersion(),
		token: tokenEndpoint{
			path:       "/jwt/auth",
			otherHost:  true,
			service:    "container_registry",
			badService: Answer{Status: 404},
			post:       Answer{Status: 404},
			anonymous:  anonymousWithScope,
			noLogin:    forbidden,
			badLogin: oci(401, "UNAUTHORIZED", "HTTP Basic: Access denied. If a password was provided for Git authentication, "+
				"the password was incorrect or you're required to use a token instead of a password.", ""),
			noRights: forbidden,
			ttl:      5 * time.Minute,
			body:     justToken,
		},
		unauthorized:      unauthorized.with(challenge),
		badToken:          unauthorized.with(challenge + `,error="invalid_token"`),
		hides:             true,
		denied:            unauthorized.with(challenge + `,error="insufficient_scope"`),
		repositoryMissing: manifestUnknown,
		tagsMissing:       nameUnknown,
		manifestMissing:   manifestUnknown,
		notAcceptable:     ociNeedsAccept,
		rateLimited:       tooManyRequests,
		tags:              listing{pageSize: 100, maxSize: 1000},
		catalog:           catalog{who: catalogForAdmins, listing: listing{pageSize: 100, maxSize: 1000}},
	}
}

// DistributionBasic is the registry of the CNCF's distribution project with an htpasswd file. Such a registry gives
// every account all rights: give accounts the right to push to "*". An account with fewer rights gets a 403, as from a
// proxy in front of the registry.
func DistributionBasic() Dialect {
	return Dialect{
		Name:              "distribution-basic",
		header:            apiVersion(),
		unauthorized:      unauthorized.with(`Basic realm="basic-realm"`),
		repositoryMissing: manifestUnknown,
		tagsMissing:       nameUnknown,
		manifestMissing:   manifestUnknown,
		digestMissing:     oci(404, "MANIFEST_UNKNOWN", "manifest unknown", `"unknown manifest name={repository} revision={reference}"`),
		blobMissing:       oci(404, "BLOB_UNKNOWN", "blob unknown to registry", `"{reference}"`),
		notAcceptable:     ociNeedsAccept,
		tags:              listing{trailing: trailingIfFull},
		catalog:           catalog{listing: listing{pageSize: 100, maxSize: 1000, tooMany: tooManyN}},
	}
}

// DistributionToken is the registry of the CNCF's distribution project with a token server:
// https://distribution.github.io/distribution/spec/auth/. It never responds with 403.
func DistributionToken() Dialect {
	d := DistributionBasic()
	challenge := `Bearer realm="{scheme}://{host}/auth/token",service="registry"[,scope="{scope}"]`
	d.Name = "distribution-token"
	d.token = tokenEndpoint{
		path:     "/auth/token",
		badLogin: oci(401, "UNAUTHORIZED", "authentication required", "null"),
		ttl:      time.Minute,
		body:     wholeAnswer,
	}
	d.unauthorized = unauthorized.with(challenge)
	d.badToken = unauthorized.with(challenge + `,error="invalid_token"`)
	d.hides = true
	d.denied = unauthorized.with(challenge + `,error="insufficient_scope"`)
	d.catalog.who = catalogForAdmins
	d.catalog.no = d.denied
	return d
}

// Zot is the zot registry with htpasswd, according to its source. The body of its 401 is not wrapped in "errors".
func Zot() Dialect {
	unauthorized := Answer{
		Status:    401,
		Challenge: `Basic realm="Authorization Required"`,
		Body:      `{"code":"UNAUTHORIZED","message":"authentication required","description":"The access controller was unable to authenticate the client."}`,
	}
	return Dialect{
		Name:              "zot",
		header:            apiVersion(),
		unauthorized:      unauthorized,
		denied:            oci(403, "DENIED", "requested access to the resource is denied", `{}`).with(`Basic realm="Authorization Required"`),
		deniedAnonymous:   unauthorized,
		repositoryMissing: oci(404, "NAME_UNKNOWN", "repository name not known to registry", `{"name":"{repository}"}`),
		manifestMissing:   oci(404, "MANIFEST_UNKNOWN", "manifest unknown", `{"reference":"{reference}"}`),
		tags:              listing{badLast: nameUnknown},
	}
}

// Gitea is Gitea since 1.25.3, compared with version 1.26.0 response by response. Its challenge has the service name of
// GitLab and a scope that is not valid. A request that is denied because of a repository's owner gets plain text.
// Owners are private or public, not repositories.
func Gitea() Dialect {
	unversioned := map[string]string{"Docker-Distribution-Api-Version": ""}
	refused := oci(401, "UNAUTHORIZED", "", "").with(
		"Bearer realm=\"{scheme}://{host}/v2/token\",service=\"container_registry\",scope=\"*\"\nBasic realm=\"Gitea Container Registry\"")
	badTokenLogin := refused
	badTokenLogin.Header = apiVersion()
	return Dialect{
		Name:   "gitea",
		header: apiVersion(),
		token: tokenEndpoint{
			path:      "/v2/token",
			post:      Answer{Status: 404},
			badLogin:  badTokenLogin,
			byAccount: true,
			ttl:       24 * time.Hour,
			body:      justToken,
		},
		basic:        true,
		pong:         Answer{Status: 200},
		unauthorized: refused,
		badLogin:     refused,
		badToken:     refused,
		hides:        true,
		denied: Answer{
			Status: 401, Challenge: `Basic realm="Gitea Package API"`, Body: "reqPackageAccess\n", Header: unversioned,
		},
		projectMissing:    Answer{Status: 404, Body: "Not found.\n", Header: unversioned},
		repositoryMissing: oci(404, "MANIFEST_UNKNOWN", "", ""),
		tagsMissing:       oci(404, "NAME_UNKNOWN", "", ""),
		manifestMissing:   oci(404, "MANIFEST_UNKNOWN", "", ""),
		blobMissing:       oci(404, "BLOB_UNKNOWN", "", ""),
		nameInvalid:       oci(400, "NAME_INVALID", "", ""),
		tags:              listing{trailing: trailingIfAnyone},
		catalog:           catalog{listing: listing{pageSize: 100, maxSize: 100, trailing: trailingIfFull}},
	}
}

// Forgejo is Forgejo, and Gitea before 1.25.3, according to their source. Its response to a wrong login is plain text
// without a challenge, and it has no Basic challenge.
func Forgejo() Dialect {
	d := Gitea()
	d.Name = "forgejo"
	badLogin := Answer{Status: 401, Body: "authGroup.Verify\n"}
	d.token.badLogin, d.badLogin, d.badToken = badLogin, badLogin, badLogin
	d.unauthorized = oci(401, "UNAUTHORIZED", "", "").with(`Bearer realm="{scheme}://{host}/v2/token",service="container_registry",scope="*"`)
	return d
}
