package profilestore

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/internal/document"
)

// Schema returns the JSON Schema (2020-12) of a profile of the kind, for forms and editors. It describes the input of
// [FromForm] and [registry.DecodeProfiles], with the logins that the provider of the kind accepts, or all logins if
// this module does not know the kind. A secret has "writeOnly", and is a string, or {"redacted": true} to keep the
// stored one.
//
// A profile that matches the schema may still be invalid: [registry.Profile.Validate] and the provider check more. The
// schemas are also in docs/schemas.
func Schema(kind registry.Kind) []byte {
	root := schemaOf(reflect.TypeFor[registry.Profile](), "", kind)
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["$id"] = "https://github.com/regcred/regcred/docs/schemas/" + string(kind) + ".json"
	root["title"] = "Registry profile of kind " + string(kind)
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	_ = e.Encode(root) // Maps of strings always encode.
	return buf.Bytes()
}

type schema = map[string]any

// A form is one way to log in: a set of login fields that are used together.
type form struct {
	title    string
	required []string
	optional []string
}

var (
	anonymousForm = form{title: "Without a login", required: []string{"anonymous"}}
	ambientForm   = form{title: "The identity of this program", required: []string{"ambient"}}
	basicForm     = form{title: "User name and password, or token", required: []string{"username", "password"}, optional: []string{"expiresAt"}}
	awsForm       = form{title: "AWS identity", required: []string{"aws"}}
	googleForm    = form{title: "Google identity", required: []string{"google"}}
	azureForm     = form{title: "Azure identity", required: []string{"azure"}}
	federatedForm = form{title: "The identity of a workload", required: []string{"federated"}}
	fieldsForm    = form{title: "Fields of the provider", required: []string{"fields"}}
)

func formsOf(kind registry.Kind) []form {
	switch kind {
	case registry.DockerHub:
		return []form{basicForm, anonymousForm, federatedForm}
	case registry.Custom:
		return []form{basicForm, anonymousForm, federatedForm}
	case registry.ECR:
		return []form{awsForm, ambientForm, anonymousForm}
	case registry.GCR:
		key := basicForm
		key.title = "Service-account key as user name and password"
		return []form{googleForm, ambientForm, anonymousForm, key}
	case registry.System:
		return []form{basicForm, fieldsForm, anonymousForm, federatedForm}
	case registry.ACR:
		return []form{azureForm, ambientForm, anonymousForm, basicForm}
	}
	all := []form{basicForm, anonymousForm, ambientForm, awsForm, googleForm, azureForm, federatedForm, fieldsForm}
	for i := range all {
		all[i].optional = append(slices.Clone(all[i].optional), "settings")
	}
	return all
}

func schemaOf(t reflect.Type, path string, kind registry.Kind) schema {
	var s schema
	switch {
	case t == reflect.TypeFor[credentials.Secret]():
		forms := []any{
			schema{"type": "string", "format": "password"},
			schema{
				"title": "Keep the stored secret", "type": "object", "additionalProperties": false,
				"properties": schema{redactedName: schema{"const": true}}, "required": []string{redactedName},
			},
		}
		if path == "login.google.credentials" {
			forms = append(forms, schema{"title": "The JSON itself", "type": "object", "required": []string{"type"}})
		}
		s = schema{"writeOnly": true, "oneOf": forms}
	case t == reflect.TypeFor[time.Time]():
		s = schema{"type": "string", "format": "date-time"}
	case t == reflect.TypeFor[registry.Kind]():
		s = schema{"const": string(kind)}
	case t == reflect.TypeFor[credentials.Login]():
		var forms []any
		for _, f := range formsOf(kind) {
			forms = append(forms, formSchema(t, path, kind, f))
		}
		s = schema{"type": "object", "oneOf": forms}
	case t.Kind() == reflect.Pointer:
		s = schemaOf(t.Elem(), path, kind)
	case t.Kind() == reflect.Struct:
		properties := schema{}
		for name, f := range document.Fields(t) {
			at := strings.TrimPrefix(path+"."+name, ".")
			if at == "tenant" { // The session provides it.
				continue
			}
			properties[name] = schemaOf(f.Type, at, kind)
		}
		s = schema{"type": "object", "additionalProperties": false, "properties": properties}
		if required := requiredAt(path, kind); required != nil {
			s["required"] = required
		}
	case t.Kind() == reflect.Slice:
		s = schema{"type": "array", "items": schemaOf(t.Elem(), path+"[]", kind)}
	case t.Kind() == reflect.Map:
		s = schema{"type": "object", "additionalProperties": schemaOf(t.Elem(), path+".*", kind)}
	case t.Kind() == reflect.Bool:
		s = schema{"type": "boolean"}
	default:
		s = schema{"type": "string"}
	}
	if path == "name" {
		s["pattern"], s["maxLength"] = `^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`, 63
	}
	if text := describe(path); text != "" {
		s["description"] = text
	}
	return s
}

func requiredAt(path string, kind registry.Kind) []string {
	switch path {
	case "":
		if kind == registry.DockerHub {
			return []string{"name", "kind", "login"}
		}
		return []string{"name", "kind", "endpoint", "login"}
	case "login.aws.webIdentity":
		return []string{"roleARN"}
	case "login.aws.roles[]":
		return []string{"arn"}
	case "login.google.federation":
		return []string{"subject"}
	case "login.federated":
		return []string{"subject", "exchange"}
	}
	return nil
}

func formSchema(login reflect.Type, path string, kind registry.Kind, f form) schema {
	properties := schema{}
	for name, field := range document.Fields(login) {
		if !slices.Contains(f.required, name) && !slices.Contains(f.optional, name) {
			continue
		}
		p := schemaOf(field.Type, path+"."+name, kind)
		if field.Type.Kind() == reflect.Bool {
			p["const"] = true
		}
		properties[name] = p
	}
	return schema{
		"title": f.title, "type": "object", "additionalProperties": false,
		"properties": properties, "required": f.required,
	}
}

// describe returns the help text of a field. The fields of a subject have the same texts in every login.
func describe(path string) string {
	if i := strings.LastIndex(path, ".subject."); i >= 0 {
		path = path[i+1:]
	}
	return descriptions[path]
}

// descriptions are the help texts of a form, by the paths of the fields. A test checks that none is missing.
var descriptions = map[string]string{
	"name":                                             "Identifies the profile: lower-case letters, digits, hyphens and dots.",
	"kind":                                             "The kind of registry.",
	"endpoint":                                         "The host in the names of images, with a path if only that part is meant: registry.example.com:5000/team.",
	"hosts":                                            "Further endpoints that the same login serves.",
	"login":                                            "How to log in: exactly one way.",
	"login.anonymous":                                  "Use the registry without a login.",
	"login.ambient":                                    "Use the identity that this program has: of its cloud account, machine or pod.",
	"login.username":                                   "User name, or the value that the registry expects in its place.",
	"login.password":                                   "Password, access token, or secret of a robot account.",
	"login.expiresAt":                                  "When the password expires, for a token with an expiry.",
	"login.aws":                                        "An identity of Amazon Web Services.",
	"login.aws.accessKeyID":                            "ID of an access key: AKIA... or ASIA....",
	"login.aws.secretAccessKey":                        "Secret of the access key.",
	"login.aws.sessionToken":                           "Session token of a temporary access key.",
	"login.aws.webIdentity":                            "A role that AWS grants for a token of an OpenID Connect issuer.",
	"login.aws.webIdentity.roleARN":                    "ARN of the role.",
	"login.aws.webIdentity.tokenFile":                  "Path of a file with the token, on the machine of this program.",
	"login.aws.webIdentity.token":                      "The token.",
	"login.aws.webIdentity.sessionName":                "Name of the session in AWS's logs.",
	"login.aws.webIdentity.subject":                    "The workload that the role trusts.",
	"login.aws.webIdentity.sessionPolicy":              "Policy, in JSON, that narrows the rights of the session.",
	"login.google.federation":                          "The identity of a workload, exchanged without a key file.",
	"login.google.federation.provider":                 "Workload identity provider: projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER.",
	"login.google.federation.gke":                      "GKE cluster whose workload identity pool is used: projects/PROJECT/locations/LOCATION/clusters/NAME.",
	"login.google.federation.subject":                  "The workload that the pool trusts.",
	"login.azure":                                      "An identity of Microsoft Entra ID.",
	"login.azure.tenantID":                             "ID of the Entra tenant.",
	"login.azure.clientID":                             "Client ID of the app registration or user-assigned managed identity.",
	"login.azure.clientSecret":                         "Secret of the app registration: its value, not its ID.",
	"login.azure.certificate":                          "Certificate of the app registration and its private key, in PEM.",
	"login.azure.subject":                              "The workload that a federated credential trusts.",
	"login.azure.managedIdentity":                      "Use a managed identity of the machine that this program runs on.",
	"login.federated":                                  "The identity of a workload, which the registry exchanges for a credential.",
	"login.federated.subject":                          "The workload.",
	"login.federated.exchange":                         "The protocol of the registry: exactly one.",
	"login.federated.exchange.password":                "The token itself is the password: Zot, Angos, Harbor Next, System.",
	"login.federated.exchange.password.username":       "User name that is sent with the token.",
	"login.federated.exchange.quay":                    "Robot federation of Quay.",
	"login.federated.exchange.quay.robot":              "Full name of the robot account: ORGANIZATION+NAME.",
	"login.federated.exchange.artifactory":             "OIDC integration of a JFrog platform.",
	"login.federated.exchange.artifactory.provider":    "Name of the integration.",
	"login.federated.exchange.artifactory.mapping":     "Name of an identity mapping.",
	"login.federated.exchange.artifactory.project":     "Key of the project that the integration belongs to.",
	"login.federated.exchange.cloudsmith":              "OIDC provider of a Cloudsmith organization.",
	"login.federated.exchange.cloudsmith.organization": "Slug of the organization.",
	"login.federated.exchange.cloudsmith.service":      "Slug of the service account.",
	"login.federated.exchange.chainguard":              "Assumable identity of Chainguard.",
	"login.federated.exchange.chainguard.identity":     "UIDP of the identity.",
	"login.federated.exchange.dockerHub":               "OIDC connection of a Docker organization, for GitHub Actions.",
	"login.federated.exchange.dockerHub.organization":  "Name of the organization.",
	"login.federated.exchange.dockerHub.connection":    "ID of the connection.",
	"login.federated.exchange.ibm":                     "Trusted profile of IBM Cloud.",
	"login.federated.exchange.ibm.profile":             "ID of the trusted profile.",
	"subject.kubernetes":                               "Service account of a Kubernetes cluster.",
	"subject.kubernetes.cluster":                       "Name of the cluster; empty for the one that the program runs in.",
	"subject.kubernetes.namespace":                     "Namespace of the account; empty for the namespace of the pull secret.",
	"subject.kubernetes.name":                          "Name of the account.",
	"subject.file":                                     "Path of a file with the token, on the machine of this program.",
	"subject.environment":                              "Name of an environment variable with the token.",
	"subject.source":                                   "Name of a source of this program.",
	"subject.audience":                                 "Audience of the token; empty for the usual one.",
	"login.aws.roles":                                  "Roles to assume, one after the other.",
	"login.aws.roles[].arn":                            "ARN of the role.",
	"login.aws.roles[].externalID":                     "External ID that the owner of the role requires.",
	"login.aws.roles[].sessionName":                    "Name of the session in AWS's logs.",
	"login.aws.noInstanceMetadata":                     "Do not use the instance metadata service.",
	"login.google":                                     "An identity of Google Cloud.",
	"login.google.credentials":                         "Key of a service account, or configuration of an external account, in JSON.",
	"login.google.accessToken":                         "Make short-lived access tokens from the key, instead of using the key as the password.",
	"login.google.impersonate":                         "E-mail address of a service account to impersonate.",
	"login.google.delegates":                           "Service accounts between the identity and the one that is impersonated.",
	"login.fields":                                     "Secrets that the provider needs.",
	"login.settings":                                   "Settings that the provider needs, which are not secret.",
	"transport":                                        "How this program reaches the registry.",
	"transport.caBundle":                               "Certificates, in PEM, that are trusted beside those of the system. Nodes must trust them, too.",
	"transport.clientCertificate":                      "Client certificate, in PEM.",
	"transport.clientKey":                              "Private key of the client certificate, in PEM.",
	"transport.proxy":                                  `URL of a proxy, or "direct".`,
	"transport.proxyUsername":                          "User name at the proxy.",
	"transport.proxyPassword":                          "Password at the proxy.",
	"transport.plainHTTP":                              "Use plain HTTP: everyone on the network path can read the login.",
}
