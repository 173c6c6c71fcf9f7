package validate

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const runtimesPage = "../docs/runtimes.md"

// docs/runtimes.md is generated from runtimeTable. REGCRED_UPDATE=1 writes it.
func TestRuntimesPage(t *testing.T) {
	page := runtimesDoc()
	if os.Getenv("REGCRED_UPDATE") != "" {
		require.NoError(t, os.WriteFile(runtimesPage, page, 0o644))
	}
	have, err := os.ReadFile(runtimesPage)
	require.NoError(t, err)
	require.Equal(t, string(page), string(have), "the page is out of date: REGCRED_UPDATE=1 go test ./validate -run TestRuntimesPage")
}

func runtimesDoc() []byte {
	var b bytes.Buffer
	b.WriteString(runtimesHead)
	b.WriteString("\n## Rules of each runtime\n\n| |")
	for _, r := range runtimeTable {
		fmt.Fprintf(&b, " %s |", r.runtime)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(runtimeTable)) + "\n")
	for _, row := range runtimeColumns {
		fmt.Fprintf(&b, "| %s |", row.name)
		for _, r := range runtimeTable {
			fmt.Fprintf(&b, " %s |", row.value(r))
		}
		b.WriteString("\n")
	}
	b.WriteString("\n## Where release lines differ\n\n| |")
	var lines []line
	for _, r := range runtimeTable {
		for _, l := range r.lines {
			fmt.Fprintf(&b, " %s |", l.name(r))
			lines = append(lines, l)
		}
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(lines)) + "\n")
	for _, row := range lineColumns {
		fmt.Fprintf(&b, "| %s |", row.name)
		for _, l := range lines {
			fmt.Fprintf(&b, " %s |", row.value(l))
		}
		b.WriteString("\n")
	}
	b.WriteString(runtimesTail)
	return b.Bytes()
}

func yes(v bool) string {
	if v {
		return "yes"
	}
	return "no"
}

func statuses(list []int, none string) string {
	if list == nil {
		return none
	}
	var all []string
	for _, s := range list {
		all = append(all, strconv.Itoa(s))
	}
	return strings.Join(all, ", ")
}

func bytesOf(n int64) string {
	if n == 0 {
		return "no limit"
	}
	return strconv.FormatInt(n, 10)
}

// pageRetries are the statuses after which a runtime repeats a manifest request at once. The check waits after 429 for
// all runtimes, so that its rules do not contain them.
var pageRetries = map[Runtime][]int{Containerd: {408, 429}, CRIO: {429}, DockerContainerd: {408, 429}}

var runtimeColumns = []struct {
	name  string
	value func(*runtimeRules) string
}{
	{"source of the challenge", func(r *runtimeRules) string {
		if r.pingFirst {
			return "GET `/v2/` alone"
		}
		return "each 401; `/v2/` is not requested"
	}},
	{"statuses of GET `/v2/` with which the pull goes on", func(r *runtimeRules) string { return statuses(r.pingStatus, "any") }},
	{"of several challenges, in header lines of their own", func(r *runtimeRules) string {
		return [...]string{bearerOrBasic: "Bearer, else Basic", bearerFirst: "Bearer, which must have a realm; else Basic",
			headerOrder: "the first line", basicWins: "fetches a token for Bearer, sends Basic if it is offered, too"}[r.order]
	}},
	{"token request with a login", func(r *runtimeRules) string {
		if r.post {
			return "POST with the password; GET after " + statuses(r.postFallback, "")
		}
		return "GET with Basic"
	}},
	{"scope of the challenge", func(r *runtimeRules) string {
		return [...]string{scopeNever: "ignored", scopeAlways: "requested beside its own",
			scopeOnDemand: "requested after `insufficient_scope`, once"}[r.challengeScope]
	}},
	{"field of the token, GET", func(r *runtimeRules) string { return strings.Join(r.getFields, ", else ") }},
	{"field of the token, POST", func(r *runtimeRules) string {
		if len(r.postFields) == 0 {
			return "&nbsp;"
		}
		return strings.Join(r.postFields, ", else ")
	}},
	{"`expires_in` has to be an integer, `issued_at` a time by RFC 3339", func(r *runtimeRules) string { return yes(r.typed) }},
	{"`refresh_token` has to be text", func(r *runtimeRules) string { return yes(r.refreshTyped) }},
	{"text after the JSON of a token response", func(r *runtimeRules) string {
		if r.trailing {
			return "ignored"
		}
		return "an error"
	}},
	{"the API is redirected to another host, which asks for a login", func(r *runtimeRules) string {
		return [...]string{redirectNever: "the login is not sent", redirectAsked: "it is sent the login",
			redirectPinged: "it is sent the login if it answered `/v2/`"}[r.redirects]
	}},
	{"largest token response, bytes", func(r *runtimeRules) string { return bytesOf(r.tokenLimit) }},
	{"without a login, a Basic challenge is answered with an empty one", func(r *runtimeRules) string { return yes(r.emptyLogin) }},
	{"HEAD of the manifest", func(r *runtimeRules) string {
		return [...]string{headNever: "not sent", headDecides: "decides; GET only after 405, or without digest or length",
			headHint: "if it fails, GET follows"}[r.head]
	}},
	{"HEAD has to have a Content-Type, a Content-Length", func(r *runtimeRules) string {
		return yes(r.headType) + ", " + yes(r.headLength)
	}},
	{"Content-Type in capitals", func(r *runtimeRules) string {
		if r.exactType {
			return "unknown"
		}
		return "known"
	}},
	{"Docker-Content-Digest has to be the digest, or absent", func(r *runtimeRules) string { return yes(r.head != headNever) }},
	{"`mediaType` in the manifest has to be the Content-Type", func(r *runtimeRules) string { return yes(r.bodyType) }},
	{"largest manifest, bytes", func(r *runtimeRules) string { return bytesOf(r.manifestLimit) }},
	{"largest config, bytes", func(r *runtimeRules) string { return bytesOf(r.configLimit) }},
	{"a manifest of Docker's type has to have a `mediaType`", func(r *runtimeRules) string { return yes(r.dockerBodyType) }},
	{"a manifest of Docker's type that is an image and an index at once", func(r *runtimeRules) string {
		if r.dockerMixed {
			return "is read by its type"
		}
		return "an error"
	}},
	{"sizes of manifests in descriptors have to be right", func(r *runtimeRules) string { return yes(r.sizes) }},
	{"sizes of configs in manifests have to be right", func(r *runtimeRules) string { return yes(r.configSize) }},
	{"manifest requests repeated at once after", func(r *runtimeRules) string { return statuses(pageRetries[r.runtime], "none") }},
	{"platform names are normalized (`x86_64`, capitals, `amd64/v1`)", func(r *runtimeRules) string { return yes(r.normalizes) }},
	{"an entry of an index without a platform", func(r *runtimeRules) string {
		return [...]string{unnamedConfig: "the first, if its config is for the node", unnamedFirst: "the first, whatever it is for"}[r.unnamed]
	}},
	{"an empty platform in an index", func(r *runtimeRules) string {
		if r.emptyUnnamed {
			return "counts as none"
		}
		return "is for no node"
	}},
	{"a config for another operating system", func(r *runtimeRules) string {
		if r.configOS {
			return "fails"
		}
		return "pulls, and cannot run"
	}},
	{"an index in an index", func(r *runtimeRules) string { return yes(r.nested) }},
	{"variants v2 to v4 of amd64, where the CPU has them", func(r *runtimeRules) string { return yes(r.cpuVariants) }},
}

var lineColumns = []struct {
	name  string
	value func(line) string
}{
	{"an unusual config or layer type", func(l line) string {
		if l.lazy {
			return "reports success, and cannot run"
		}
		return "fails"
	}},
	{"a chart or artifact whose config lists no layers", func(l line) string {
		if l.lazy || l.emptyArtifacts {
			return "reports success, and cannot run"
		}
		return "fails"
	}},
	{"further layer types", func(l line) string {
		if l.otherLayers == nil {
			return "none"
		}
		return "those of Docker's early years, such as octet-stream"
	}},
	{"variant in the config of an entry without a platform", func(l line) string {
		if l.configVariant {
			return "counts"
		}
		return "is ignored"
	}},
	{"image for 32 bits on a node of 64 bits", func(l line) string {
		if l.unnamedBits32 {
			return "only if the index does not name its platform"
		}
		return yes(l.bits32)
	}},
	{"an entry with an unknown `os.features`", func(l line) string {
		if l.osFeatures {
			return "is ignored"
		}
		return "is used"
	}},
	{"entries of an index for the platform that are fetched", func(l line) string {
		if l.allEntries {
			return "all"
		}
		return "the best"
	}},
	{"Docker schema 1", func(l line) string {
		return [...]string{"no", "if signed", "yes"}[len(l.schema1)]
	}},
	{"manifest request repeated once after", func(l line) string { return statuses(l.retryOnce, "none") }},
}

const runtimesHead = `<!-- Made by REGCRED_UPDATE=1 go test ./validate -run TestRuntimesPage. -->

# Container runtimes

This page has the rules by which the container runtimes of nodes pull, and by which [validate](validate.md) judges. Its
tables are generated from the table in validate/runtimes.go.

The rules were observed on the runtimes, called with the values that a kubelet passes (containerd 1.6.20, 1.7.35 and
2.4.2, CRI-O 1.37.0, Docker 20.10.24 and 29), and read in their sources. Tests hold the check to the runtimes' own code
(internal/runtimes) and to 46 rows of observations (validate/runtimes_test.go). [proof.md](proof.md) states which
runtimes the tests run as daemons, and which as code.
`

const runtimesTail = `
## The two image stores of Docker

Docker Engine 29 has two image stores. A new host gets containerd's, and Docker then pulls by containerd's resolver, and
differs from containerd in what it accepts of an index, of a config, and of a redirect. A host that was upgraded keeps its
graph driver, whose column also describes versions 23 to 28. Docker 20.10 differs: it knows neither entries without a
platform nor nested indexes nor the variants of amd64, and repeats the request by tag if the digest of a HEAD is wrong.

In some cases the check differs from the runtimes: [proof.md](proof.md#where-the-check-differs-from-a-runtime) lists
them.
`
