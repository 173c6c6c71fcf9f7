package scenario

import (
	"math/rand/v2"
)

// Generate returns the scenario of a seed: the common registry with one to four deviations. The same seed results in
// the same scenario, until this package changes.
func Generate(seed uint64) Scenario {
	r := rand.New(rand.NewPCG(seed, 0))
	return generate(r.IntN)
}

// FromBytes returns a scenario for a fuzzer's input: each byte is one decision.
func FromBytes(b []byte) Scenario {
	return generate(func(n int) int {
		if len(b) == 0 {
			return 0
		}
		x := int(b[0])
		b = b[1:]
		return x % n
	})
}

// A die returns a number from 0 to n-1.
type die func(n int) int

func (d die) pick(options ...string) string { return options[d(len(options))] }
func (d die) number(options ...int) int     { return options[d(len(options))] }
func (d die) maybe() bool                   { return d(2) == 1 }

func generate(roll func(int) int) Scenario {
	d := die(roll)
	var s Scenario
	// Half of all scenarios have one deviation, so that its effect needs no explanation.
	n := d.number(1, 1, 1, 1, 2, 2, 3, 4)
	for range n {
		deviations[d(len(deviations))](d, &s)
	}
	s.tame()
	return s
}

// tame removes deviations that no registry has, or that would only cost time.
func (s *Scenario) tame() {
	if s.Auth == "open" && s.Public {
		s.Public = false
	}
	if s.Pod != nil {
		s.Login = ""
	}
}

var (
	errorStatuses = []int{400, 401, 403, 404, 405, 410, 415, 422, 500, 501, 502, 503, 504}
	platforms     = []string{"linux/arm64", "linux/arm64/v8", "linux/386", "windows/amd64", "linux/amd64/v1", "linux/amd64/v2", "linux/arm/v7"}
)

// deviations are the dimensions. Each function sets one deviation.
var deviations = []func(die, *Scenario){
	func(d die, s *Scenario) { s.Login = d.pick("none", "wrong") },
	func(d die, s *Scenario) { s.Auth = d.pick("basic", "basic", "open") },
	func(_ die, s *Scenario) { s.Public = true },
	func(d die, s *Scenario) { s.Challenges = d.challenges() },
	func(d die, s *Scenario) { s.Challenges = d.challenges() },
	func(d die, s *Scenario) { s.Ping.Status = d.number(errorStatuses...) },
	func(_ die, s *Scenario) { s.Ping.Open = true },
	func(_ die, s *Scenario) { s.Token.OtherHost = true },
	func(d die, s *Scenario) {
		s.Token.Scope = "repository:other/app:pull"
		s.Manifest.ScopeError = d.maybe()
	},
	func(d die, s *Scenario) {
		s.Token.Scope = d.pick("registry:catalog:*", "repository:team/app:pull,push", "none")
	},
	func(d die, s *Scenario) { s.Token.Post = d.tokenReply(true) },
	func(d die, s *Scenario) { s.Token.Post = d.tokenReply(true) },
	func(d die, s *Scenario) { s.Token.Get = d.tokenReply(false) },
	func(d die, s *Scenario) {
		s.Token.Post.Status, s.Token.Get = d.number(400, 401, 404, 405), d.tokenReply(false)
	},
	func(_ die, s *Scenario) { s.Manifest.Open = true },
	func(_ die, s *Scenario) { s.Manifest.Silent = true },
	func(d die, s *Scenario) { s.Manifest.Unauthorized = d.number(400, 403, 404, 500) },
	func(d die, s *Scenario) { s.Manifest.First = d.first() },
	func(d die, s *Scenario) {
		s.Manifest.Rejected, s.Manifest.RejectedError = 1+d(2), d.pick("invalid_token", "insufficient_scope", "")
	},
	func(d die, s *Scenario) { s.Manifest.Head = d.reply() },
	func(d die, s *Scenario) { s.Manifest.Head = d.reply() },
	func(d die, s *Scenario) { s.Manifest.Get = d.reply() },
	func(d die, s *Scenario) { s.Manifest.Head = d.reply(); s.Manifest.Get = s.Manifest.Head },
	func(_ die, s *Scenario) { s.Blob.Open = true },
	func(d die, s *Scenario) { s.Blob.Unauthorized = d.number(400, 403, 404, 500) },
	func(d die, s *Scenario) { s.Blob.ConfigStatus = d.number(errorStatuses...) },
	func(d die, s *Scenario) { s.Blob.LayerStatus = d.number(errorStatuses...) },
	func(d die, s *Scenario) { s.Blob.First = d.first() },
	func(_ die, s *Scenario) { s.Blob.Storage = true },
	func(d die, s *Scenario) {
		s.Redirect = Redirect{Ping: d.maybe(), Manifests: d.maybe(), Blobs: d.maybe(), Login: d.maybe()}
	},
	func(d die, s *Scenario) { d.change(&s.Content) },
	func(d die, s *Scenario) { d.change(&s.Content) },
	func(d die, s *Scenario) { d.change(&s.Content) },
	func(d die, s *Scenario) { s.Content.Index = d.entries(2) },
	func(d die, s *Scenario) { s.Content.Index = d.entries(2) },
	func(d die, s *Scenario) { s.Content.Index = d.entries(2) },
	func(_ die, s *Scenario) { s.Content.EmptyIndex = true },
	func(d die, s *Scenario) { s.Pod = d.pod() },
	func(d die, s *Scenario) { s.Pod = d.pod() },
	func(d die, s *Scenario) { s.Pod = d.pod() },
}

func (d die) challenges() []string {
	const (
		bearer = `Bearer realm="{realm}",service="{host}",scope="{scope}"`
		basic  = `Basic realm="{host}"`
	)
	return [][]string{
		{bearer, basic},
		{basic, bearer},
		{bearer + ", " + basic},
		{basic + ", " + bearer},
		{`Bearer error="x"`, basic},
		{basic, `Bearer error="x"`},
		{`Bearer realm={realm},service="{host}"`},
		{`Bearer realm = "{realm}", service = "{host}"`},
		{`bearer realm="{realm}",service="{host}",scope="{scope}"`},
		{`BEARER Realm="{realm}",Service="{host}",Scope="{scope}"`},
		{`Bearer realm="{realm}"`},
		{`Bearer realm="{realm}",scope="{scope}"`},
		{`Bearer realm="{realm}",service="a \"quoted\" service",scope="{scope}"`},
		{`Bearer realm="{realm}",service="a, b",scope="{scope}"`},
		{`Bearer  realm="{realm}" , service="{host}" , scope="{scope}"`},
		{`Bearer service="{host}",scope="{scope}",realm="{realm}"`},
		{`Bearer realm="/token",service="{host}"`},
		{`Bearer realm="",service="{host}"`},
		{`Bearer realm="{realm}?a=b",service="{host}",scope="{scope}"`},
		{`Bearer realm="{realm}#part",service="{host}",scope="{scope}"`},
		{`Digest realm="x",nonce="y"`, bearer},
		{`Negotiate`, bearer},
		{`Negotiate, ` + bearer},
		{bearer, bearer},
		{`Bearer token68==, realm="{realm}"`},
		{`Bearer`},
		{`Basic`},
		{``},
	}[d(28)]
}

func (d die) tokenReply(post bool) TokenReply {
	switch d(6) {
	case 0, 1:
		return TokenReply{Status: d.number(append([]int{201, 204, 429}, errorStatuses...)...), Times: d(2)}
	case 2:
		if post {
			return TokenReply{Body: d.pick(`{"token":"{token}"}`, `{}`, `<html></html>`, `{"access_token":""}`)}
		}
		return TokenReply{Pad: d.number(2<<20, 1000)}
	default:
		return TokenReply{Body: d.pick(
			`{"token":"{token}"}`,
			`{"access_token":"{token}"}`,
			`{"token":"{token}","access_token":"other"}`,
			`{"token":"other","access_token":"{token}"}`,
			`{"token":"","access_token":"{token}"}`,
			`{"token":"{token}","access_token":""}`,
			`{"token":null,"access_token":"{token}"}`,
			`{"token":"{token}","access_token":"{token}","expires_in":"300"}`,
			`{"token":"{token}","access_token":"{token}","expires_in":300.5}`,
			`{"token":"{token}","access_token":"{token}","expires_in":3e2}`,
			`{"token":"{token}","access_token":"{token}","expires_in":null}`,
			`{"token":"{token}","access_token":"{token}","expires_in":0}`,
			`{"token":"{token}","access_token":"{token}","expires_in":-1}`,
			`{"token":"{token}","access_token":"{token}","issued_at":""}`,
			`{"token":"{token}","access_token":"{token}","issued_at":1700000000}`,
			`{"token":"{token}","access_token":"{token}","issued_at":"2026-11-29T16:00:00"}`,
			`{"token":"{token}","access_token":"{token}","issued_at":"2026-11-29T16:00:00Z"}`,
			`{"token":"{token}","access_token":"{token}","issued_at":"2020-01-01T00:00:00Z","expires_in":60}`,
			`{"token":"{token}","access_token":"{token}","refresh_token":7}`,
			`{"token":"{token}","access_token":"{token}","refresh_token":"x"}`,
			`{"token":"{token}","access_token":"{token}","scope":7}`,
			`{"token":"{token}","access_token":"{token}"}`+"\n\n",
			`{"token":"{token}","access_token":"{token}"} and more`,
			`{"token":"{token}","access_token":"{token}"}{}`,
			`{"Token":"{token}","ACCESS_TOKEN":"{token}"}`,
			"\xef\xbb\xbf"+`{"token":"{token}","access_token":"{token}"}`,
			`[{"token":"{token}","access_token":"{token}"}]`,
			`{}`,
			``,
			`null`,
			`<html></html>`,
		)}
	}
}

// first returns the statuses of a registry with a temporary failure. 429 is excluded, because it makes a runtime wait.
func (d die) first() []int {
	status := d.number(500, 502, 503, 504, 404, 401, 403, 408, 400)
	return [][]int{{status}, {200, status}, {status, status}, {200, 200, status}}[d(4)]
}

var mediaTypes = []string{
	dockerManifest, dockerIndex, ociManifest, ociIndex, "application/json", "application/octet-stream", "text/html", "none",
	dockerManifest + "; charset=utf-8", "Application/vnd.docker.distribution.manifest.v2+json", "text/plain",
	"application/vnd.docker.distribution.manifest.v1+prettyjws", "application/vnd.oci.artifact.manifest.v1+json",
}

func (d die) reply() Reply {
	switch d(5) {
	case 0, 1:
		return Reply{Status: d.number(errorStatuses...)}
	case 2:
		return Reply{Type: d.pick(mediaTypes...)}
	case 3:
		return Reply{Digest: d.pick("none", "upper", "quoted", "other", "garbage")}
	default:
		return Reply{NoLength: true}
	}
}

// change adds a deviation to an image.
func (d die) change(c *Content) {
	part := func() string { return d.pick("config", "layer") }
	switch d(14) {
	case 0:
		c.OCI = true
	case 1:
		c.Platform = d.pick(platforms...)
	case 2:
		c.Type = d.pick(mediaTypes...)
	case 3:
		c.BodyType = d.pick("none", dockerManifest, ociManifest, dockerIndex, ociIndex, "application/json")
	case 4:
		c.ConfigType = d.pick(dockerConfig, ociConfig, "application/octet-stream", "application/json", "none",
			"application/vnd.cncf.helm.config.v1+json", "application/vnd.oci.empty.v1+json", "text/plain")
	case 5:
		c.LayerType = d.pick(dockerLayer, ociLayer, "application/vnd.oci.image.layer.v1.tar", "application/vnd.docker.image.rootfs.diff.tar",
			"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
			"application/vnd.cncf.helm.chart.content.v1.tar+gzip", "application/octet-stream", "application/json")
	case 6:
		c.NoLayers = true
	case 7:
		c.Missing = part()
	case 8:
		c.Corrupt = part()
	case 9:
		c.WrongSize = part()
	case 10:
		c.Pad = d.number(1000, 4_250_000, 5<<20)
	case 11:
		c.ConfigPad = d.number(1000, 5<<20)
	case 12:
		c.Both = true
	case 13:
		c.ConfigText = d.pick(`{}`, `{"os":"linux","architecture":"amd64"}`, `[]`, `not JSON`, `null`)
	}
}

func (d die) entries(depth int) []Entry {
	entries := make([]Entry, 1+d(3))
	for i := range entries {
		e := &entries[i]
		switch d(6) {
		case 0, 1:
			e.Content.Platform = d.pick(platforms...)
		case 2, 3:
			e.Platform = d.pick("none", `{}`, `{"architecture":"","os":""}`, `{"architecture":"amd64"}`, `{"architecture":"x86_64","os":"linux"}`,
				`{"architecture":"AMD64","os":"Linux"}`, `{"architecture":"amd64","os":"linux","variant":"v1"}`,
				`{"architecture":"amd64","os":"linux","variant":"v2"}`, `{"architecture":"amd64","os":"linux","variant":"v3"}`,
				`{"architecture":"386","os":"linux"}`, `{"architecture":"i386","os":"linux"}`, `{"architecture":"aarch64","os":"linux"}`,
				`{"architecture":"unknown","os":"unknown"}`, `{"architecture":"amd64","os":"linux","os.features":["x"]}`,
				`{"architecture":"amd64","os":"linux","os.version":"10.0.1"}`, `{"architecture":"amd64","os":"windows","os.version":"10.0.20348.1"}`,
				`{"os":"linux"}`, `null`, `{"architecture":"amd64","os":"linux","features":["sse4"]}`)
			if d.maybe() {
				e.Content.Platform = d.pick(platforms...)
			}
		case 4:
			e.Missing = d.maybe()
			e.WrongSize = !e.Missing
		case 5:
			d.change(&e.Content)
		}
		if depth > 1 && d(8) == 7 {
			e.Content.Index = d.entries(depth - 1)
			e.Platform = d.pick("none", "")
		}
	}
	return entries
}
