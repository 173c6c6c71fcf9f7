package gcr

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/field"
	"github.com/regcred/regcred/providers/internal/cloud"
	"github.com/regcred/regcred/registry"
)

// A document is the part of a profile's credentials JSON that this package uses: https://google.aip.dev/auth/4112 and
// https://google.aip.dev/auth/4117. No other part is used, so every part that is used was checked.
type document struct {
	Type           string `json:"type"`
	UniverseDomain string `json:"universe_domain,omitempty"`

	// The key of a service account.
	ClientEmail  string `json:"client_email,omitempty"`
	PrivateKeyID string `json:"private_key_id,omitempty"`
	PrivateKey   string `json:"private_key,omitempty"`
	TokenURI     string `json:"token_uri,omitempty"`

	external
}

// The values of document.Type that are allowed in a profile.
const (
	typeKey      = "service_account"
	typeExternal = "external_account"
)

// maxDocument is many times the length of any credentials JSON, which has about 2,400 bytes.
const maxDocument = 32 << 10

// parseDocument parses and checks a credentials JSON. Its error is a [field.Errors] with the field names of the JSON.
// It never quotes the private key.
func (p Provider) parseDocument(profile registry.Profile, secret credentials.Secret) (document, error) {
	var problems field.List
	data, problem := decodeDocument(secret)
	var d document
	if problem == "" {
		problem = unmarshal(data, &d)
	}
	if problem != "" {
		problems.Add("", problem, "the JSON file of a service account's key as downloaded from the console, or its base64 form; or the configuration of an external account")
		return document{}, problems.Err("")
	}
	switch d.Type {
	case typeKey:
		d.checkKey(&problems)
	case typeExternal:
		d.external.check(&problems, func(name string) bool { return cloud.AllowsSubject(profile, p.SubjectTokens, name) })
	default:
		problems.Add("type", describeType(d.Type), "service_account or external_account")
	}
	if d.UniverseDomain != "" && d.UniverseDomain != "googleapis.com" {
		problems.Add("universe_domain", "is "+field.Quote(d.UniverseDomain), "googleapis.com: other clouds of Google's making have other registries")
	}
	return d, problems.Err("")
}

func describeType(s string) string {
	switch s {
	case "":
		return "is missing (an OAuth client, or a file that was cut?)"
	case "authorized_user":
		return "is authorized_user: the login of a person"
	case "impersonated_service_account":
		return "is impersonated_service_account: name the account in impersonate instead"
	}
	return "is " + field.Quote(s)
}

// decodeDocument returns the JSON, or a problem if there is none.
func decodeDocument(secret credentials.Secret) (data []byte, problem string) {
	if secret.Len() > maxDocument {
		return nil, fmt.Sprintf("is longer than %d bytes", maxDocument)
	}
	text := strings.TrimSpace(strings.TrimPrefix(secret.Reveal(), "\ufeff")) // Editors on Windows write a BOM.
	if strings.HasPrefix(text, "{") {
		return []byte(text), ""
	}
	text = strings.TrimRight(strings.Join(strings.Fields(text), ""), "=") // base64 breaks lines.
	encoding := base64.RawStdEncoding
	if strings.ContainsAny(text, "-_") {
		encoding = base64.RawURLEncoding
	}
	data, err := encoding.DecodeString(text)
	if err != nil || !bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
		return nil, "is neither a JSON object nor the base64 form of one"
	}
	return data, ""
}

func unmarshal(data []byte, d *document) (problem string) {
	err := json.Unmarshal(data, d)
	switch e := err.(type) {
	case nil:
		return ""
	case *json.SyntaxError:
		if at := int(e.Offset) - 1; at >= 0 && at < len(data) && (data[at] == '\n' || data[at] == '\r') {
			return fmt.Sprintf(`has a real line break within a text at byte %d, where the file from Google has \n as two characters `+
				"(a shell, YAML or Terraform wrote it out)", e.Offset)
		}
		return fmt.Sprintf("is not JSON at byte %d (was it cut when it was copied?)", e.Offset)
	case *json.UnmarshalTypeError:
		kind, _, _ := strings.Cut(e.Value, " ")
		return fmt.Sprintf("has a %s in %s", kind, e.Field)
	default:
		return "is not JSON"
	}
}

func (d *document) checkKey(problems *field.List) {
	if !serviceAccount.MatchString(d.ClientEmail) {
		problems.Add("client_email", "does not belong to a service account", wantAccount) // Not quoted: it may be a line of the key.
	}
	if d.PrivateKeyID == "" {
		problems.Add("private_key_id", "is missing", "the ID that the file came with")
	}
	if problem := checkPrivateKey(d.PrivateKey); problem != "" {
		problems.Add("private_key", problem, "an RSA key in PEM (-----BEGIN PRIVATE KEY-----), as the file came with")
	}
	switch d.TokenURI {
	case "", tokenURL, "https://accounts.google.com/o/oauth2/token", "https://www.googleapis.com/oauth2/v3/token", "https://www.googleapis.com/oauth2/v4/token":
		d.TokenURI = tokenURL // Older files have the other URLs. All are the same service, which requires its present name as the audience of a signature.
	default:
		problems.Add("token_uri", "is "+field.Quote(d.TokenURI), tokenURL+": this process sends a key to no other server")
	}
}

const tokenURL = "https://oauth2.googleapis.com/token"

func missingOr(s string) string {
	if s == "" {
		return "is missing"
	}
	return "is " + field.Quote(s)
}

func checkPrivateKey(text string) (problem string) {
	block, _ := pem.Decode([]byte(text))
	switch {
	case text == "":
		return "is missing"
	case block == nil && strings.Contains(text, `\n`):
		return `has \n in two characters where a line break belongs (was the JSON escaped twice?)`
	case block == nil:
		return "is not PEM"
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	}
	if err != nil {
		return "cannot be read (was it cut or changed?)"
	}
	if _, ok := key.(*rsa.PrivateKey); !ok {
		return "is not an RSA key"
	}
	return ""
}

// compact returns the credentials JSON without insignificant white space, because it is the password in every secret.
func compact(secret credentials.Secret) credentials.Secret {
	data, _ := decodeDocument(secret)
	var b bytes.Buffer
	if json.Compact(&b, data) != nil {
		return credentials.Secret{} // Unreachable: the JSON was checked.
	}
	return credentials.NewSecret(b.String())
}
