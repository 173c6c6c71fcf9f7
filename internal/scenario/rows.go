package scenario

import "strings"

// A Row is a scenario with the verdicts of the runtimes, as observed once on the real daemons.
type Row struct {
	// Name is the number and the subject of the row.
	Name     string
	Scenario Scenario
	// The verdict of each runtime. Docker and Docker20 are the engine 28 or 29, and 20.10, with a graph driver; Docker29 has
	// the containerd image store.
	Containerd1, Containerd2, CRIO, Docker, Docker29, Docker20 bool
}

// Rows returns the rows for which runtimes differ from each other or from expectations. They were recorded with
// containerd 1.6, 1.7 and 2.4 and CRI-O 1.37 through CRI, and with the Docker engine 20.10 and 29. The variant amd64/v2
// needs a processor that has it.
func Rows() []Row {
	var rows []Row
	add := func(name, pulls string, s Scenario) {
		pulls = strings.ReplaceAll(pulls, " ", "")
		if len(pulls) == 4 { // Docker 29 pulls as containerd 2 does, and Docker 20.10 as later versions.
			pulls += pulls[1:2] + pulls[3:4]
		}
		plus := func(i int) bool { return pulls[i] == '+' }
		rows = append(rows, Row{name, s, plus(0), plus(1), plus(2), plus(3), plus(4), plus(5)})
	}
	index := func(entries ...Entry) Scenario { return Scenario{Content: Content{Index: entries}} }
	const good = `"token":"{token}","access_token":"{token}"`

	for _, status := range []int{404, 405, 401, 400} {
		add("1 POST "+text(status)+", GET good", "++ + +", Scenario{Token: Token{Post: TokenReply{Status: status}}})
	}
	add("2 POST 403, GET good", "-- + +", Scenario{Token: Token{Post: TokenReply{Status: 403}}})
	for _, status := range []int{500, 501, 503} {
		add("3 POST "+text(status)+", GET good", "-- + +", Scenario{Token: Token{Post: TokenReply{Status: status}}})
	}
	add("4 POST 200 with token only", "-- + +", Scenario{Token: Token{Post: TokenReply{Body: `{"token":"{token}"}`}}})
	for _, status := range []int{401, 403, 404, 500} {
		add("5 POST good, GET "+text(status), "++ - -", Scenario{Token: Token{Get: TokenReply{Status: status}}})
	}
	get := func(body string) Scenario {
		return Scenario{Token: Token{Post: TokenReply{Status: 404}, Get: TokenReply{Body: body}}}
	}
	add("6 token good, access_token other", "-- + -", get(`{"token":"{token}","access_token":"other"}`))
	add("7 access_token good, token other", "++ - +", get(`{"token":"other","access_token":"{token}"}`))
	for _, value := range []string{`"300"`, `300.5`, `1e3`} {
		add("8 expires_in "+value, "-- - -", get(`{`+good+`,"expires_in":`+value+`}`))
	}
	for _, value := range []string{`""`, `1700000000`, `"2026-11-29T16:00:00"`} {
		add("9 issued_at "+value, "-- - -", get(`{`+good+`,"issued_at":`+value+`}`))
	}
	add("10 refresh_token a number", "-- + -", get(`{`+good+`,"refresh_token":7}`))
	add("11 token response of 2 MiB", "++ - +", Scenario{Token: Token{Post: TokenReply{Status: 404}, Get: TokenReply{Pad: 2 << 20}}})
	add("12 JSON, then more text", "++ - +", get(`{`+good+`} and more`))

	const (
		bearer = `Bearer realm="{realm}",service="{host}",scope="{scope}"`
		basic  = `Basic realm="{host}"`
	)
	add("13 Basic and Bearer in one line", "-- - -", Scenario{Challenges: []string{basic + ", " + bearer}})
	add("14 a line Basic, a line Bearer", "++ - -", Scenario{Challenges: []string{basic, bearer}})
	add("15 Bearer without realm, and Basic", "-- + -", Scenario{Auth: "basic", Challenges: []string{basic, `Bearer error="x"`}})
	add("16 realm without quotes", "-- - -", Scenario{Challenges: []string{`Bearer realm={realm},service="{host}"`}})
	add("16 realm with spaces", "-- - -", Scenario{Challenges: []string{`Bearer realm = "{realm}",service="{host}"`}})
	add("17 ping 200, manifests send a challenge", "++ - -", Scenario{Ping: Ping{Open: true}})
	for _, status := range []int{403, 404, 405, 500} {
		add("18 ping "+text(status)+", no login needed", "++ - +", Scenario{Auth: "open", Ping: Ping{Status: status}})
	}
	add("19 manifests 401 without a challenge", "-- + +", Scenario{Manifest: Manifest{Silent: true}})
	add("20 manifests 403 until logged in", "-- + +", Scenario{Manifest: Manifest{Unauthorized: 403}})
	const other = "repository:other/app:pull"
	add("21 challenge's scope names another repository", "++ - -", Scenario{Token: Token{Scope: other}})
	add("22 same, then insufficient_scope", "++ + -", Scenario{Token: Token{Scope: other}, Manifest: Manifest{ScopeError: true}})
	for _, status := range []int{404, 403, 400, 501} {
		add("23 HEAD "+text(status)+", GET 200", "-- + +", Scenario{Manifest: Manifest{Head: Reply{Status: status}}})
	}
	add("24 HEAD 405, GET 200", "++ + +", Scenario{Manifest: Manifest{Head: Reply{Status: 405}}})
	for _, t := range []string{"application/json", "application/octet-stream"} {
		add("25 HEAD of type "+t, "-- + +", Scenario{Manifest: Manifest{Head: Reply{Type: t}}})
	}
	add("26 HEAD without type", "-- + -", Scenario{Manifest: Manifest{Head: Reply{Type: "none"}}})
	for _, t := range []string{"application/json", "application/octet-stream", "text/html"} {
		add("27 manifest of type "+t, "-- - -", Scenario{Content: Content{Type: t}})
	}
	for d, pulls := range map[string]string{"garbage": "-- + -", "upper": "-- + -", "other": "-- + - - +"} {
		add("28 digest header: "+d, pulls, Scenario{Manifest: Manifest{Head: Reply{Digest: d}, Get: Reply{Digest: d}}})
	}
	add("29 no digest header", "++ + +", Scenario{Manifest: Manifest{Head: Reply{Digest: "none"}, Get: Reply{Digest: "none"}}})
	for _, status := range []int{403, 404, 500} {
		add("30 HEAD 200, GET "+text(status), "-- - -", Scenario{Manifest: Manifest{Get: Reply{Status: status}}})
	}
	add("31 manifest of 4.1 MiB", "++ - +", Scenario{Content: Content{Pad: 4_300_000}})
	add("31 manifest of 5 MiB", "-- - +", Scenario{Content: Content{Pad: 5 << 20}})
	add("32 config of 5 MiB", "++ - +", Scenario{Content: Content{ConfigPad: 5 << 20}})
	add("33 index: amd64 v1", "++ - +", index(Entry{Platform: `{"architecture":"amd64","os":"linux","variant":"v1"}`}))
	add("33 index: amd64 v2", "-- - + + -", index(Entry{Platform: `{"architecture":"amd64","os":"linux","variant":"v2"}`}))
	add("34 index of OCI: no platform, amd64", "++ + + + -", Scenario{Content: Content{OCI: true, Index: []Entry{{Platform: "none"}}}})
	add("35 index: x86_64", "++ - +", index(Entry{Platform: `{"architecture":"x86_64","os":"linux"}`}))
	add("35 index: architecture alone", "++ - +", index(Entry{Platform: `{"architecture":"amd64"}`}))
	add("36 index in an index", "++ - + + -", index(Entry{Platform: "none", Content: Content{Index: []Entry{{}}}}))
	add("37 config octet-stream in a docker image", "-+ + + - +", Scenario{Content: Content{ConfigType: "application/octet-stream"}})
	add("38 artifact, such as a Helm chart", "-+ + - - -", Scenario{Content: Content{
		OCI: true, ConfigType: "application/vnd.cncf.helm.config.v1+json", LayerType: "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
	}})
	add("38 Helm chart, whose config lists no layers", "++ + -", Scenario{Content: Content{
		OCI: true, ConfigType: "application/vnd.cncf.helm.config.v1+json", LayerType: "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
		ConfigText: `{"name":"chart","version":"1.0.0","apiVersion":"v2"}`,
	}})
	add("39 docker's config type in an OCI manifest", "++ - +", Scenario{Content: Content{OCI: true, ConfigType: dockerConfig}})
	add("40 401 invalid_token once", "-- - +", Scenario{Manifest: Manifest{Rejected: 1, RejectedError: "invalid_token"}})
	add("41 500 once on the manifest", "-+ - +", Scenario{Manifest: Manifest{First: []int{500}}})
	tooMany := Reply{Status: 429}
	add("42 429 for ever", "-- - -", Scenario{Manifest: Manifest{Head: tooMany, Get: tooMany}})
	add("43 login rejected by the token server, repository public", "-- - -", Scenario{Login: "wrong", Public: true})
	add("44 Basic challenge only at ping, login rejected", "++ - -",
		Scenario{Auth: "basic", Login: "wrong", Manifest: Manifest{Open: true}, Blob: Blob{Open: true}})
	add("45 API redirected to a host that wants a login", "++ - - - -",
		Scenario{Auth: "open", Redirect: Redirect{Manifests: true, Blobs: true, Login: true}})
	add("46 blobs require a login, manifests do not", "++ - -", Scenario{Ping: Ping{Open: true}, Manifest: Manifest{Open: true}})
	return rows
}

func text(status int) string { return string(mustJSON(status)) }
