package validate

import (
	"cmp"
	"net/url"
	"regexp"
	"strings"
)

// maxQuote bounds the part of a registry's message that an error quotes. The evidence has up to maxMessage.
const maxQuote = 160

// quote prepares a message of a registry for an error: short, on one line, and without likely secrets. It does not
// contain the login that was sent, because [authorization.without] drops such a message. Secrets of the server, such as
// a signed URL or a token, are recognized by their form and removed:
//
//   - the query, the fragment and the user of a URL;
//   - a word that starts like a JWT;
//   - a word with a part that mixes upper case, lower case and digits in 20 characters or more, or that has more than
//     32 characters. Digests are not secret, and are kept.
func quote(message string) string {
	words := strings.Fields(message)
	for i, word := range words {
		words[i] = word
		if _, rest, ok := strings.Cut(word, "://"); ok && rest != "" {
			words[i] = bareURL(word)
		}
		words[i] = digestOrRun.ReplaceAllStringFunc(words[i], func(run string) string {
			if strings.HasPrefix(run, "sha256:") || strings.HasPrefix(run, "sha512:") || !opaque(run) {
				return run
			}
			return "[...]"
		})
	}
	return cleanLine(strings.Join(words, " "), maxQuote)
}

// bareURL returns the URL in a word, without likely secrets.
func bareURL(word string) string {
	start := strings.IndexAny(word, "hH")
	before, text := word[:max(start, 0)], word[max(start, 0):]
	end := strings.IndexAny(text, `?#"'<>`)
	if end < 0 {
		end = len(text)
	}
	u, err := url.Parse(text[:end])
	if err != nil {
		return "[URL]"
	}
	u.User = nil
	return before + u.String()
}

var digestOrRun = regexp.MustCompile(`sha(256|512):[0-9a-fA-F]+|[A-Za-z0-9+=._~-]+`)

// opaque reports whether a word may be a token.
func opaque(word string) bool {
	if strings.HasPrefix(word, "eyJ") {
		return true
	}
	for part := range strings.FieldsFuncSeq(word, func(r rune) bool { return strings.ContainsRune("._~-+=", r) }) {
		mixed := strings.ContainsAny(part, "0123456789") && strings.ToLower(part) != part && strings.ToUpper(part) != part
		if len(part) > 32 || len(part) >= 20 && mixed {
			return true
		}
	}
	return false
}

var notAuthorized = regexp.MustCompile(`not authorized to perform: ([a-z0-9-]+):([a-z]+)`)

// awsActions are the actions of ECR that a pull or a list needs, in their own spelling, because messages are compared
// in lower case.
var awsActions = []string{
	"BatchCheckLayerAvailability", "BatchGetImage", "BatchImportUpstreamImage", "CreateRepository", "DescribeImages",
	"DescribeRepositories", "GetAuthorizationToken", "GetDownloadUrlForLayer", "ListImages",
}

// missingPermission returns a hint with the permission that is missing according to AWS; "" if the message names none.
func missingPermission(text string) string {
	m := notAuthorized.FindStringSubmatch(text)
	if m == nil {
		return ""
	}
	action := m[2]
	for _, known := range awsActions {
		if strings.EqualFold(known, action) {
			action = known
		}
	}
	where := ""
	for _, policy := range []struct{ says, where string }{
		{"vpc endpoint policy", "in the policy of the VPC endpoint that this network uses"},
		{"service control policy", "in the service control policies of the organization"},
		{"permissions boundary", "in the permissions boundary of this identity"},
		{"resource-based policy", "in the policy of the repository; from another account, both its own policy and the policy of the repository must allow it"},
		{"identity-based policy", "in the IAM policy of this identity"},
	} {
		if strings.Contains(text, policy.says) {
			where = policy.where
			break
		}
	}
	return "allow " + m[1] + ":" + action + " " + cmp.Or(where, "in the IAM policy of this identity")
}
