package scenario

import "encoding/json"

// The hosts of every scenario. AuthHost belongs to the site of Host, the other two to no site that Host knows.
const (
	Host        = "registry.example.test"
	AuthHost    = "auth.example.test"
	OtherHost   = "other.test"
	StorageHost = "storage.test"
)

// The image of every scenario, and the login that may pull it.
const (
	Repository = "team/app"
	Tag        = "1"
	Image      = Host + "/" + Repository + ":" + Tag
	Username   = "ann"
	Password   = "secret-of-ann"
)

// A Scenario is one registry with one image, and one client's login. The zero Scenario is a registry with a token server
// that does everything right, holds a private image for linux/amd64, and accepts the client's login. Each field is a
// deviation from it, so a Scenario with fewer fields set is a simpler one.
type Scenario struct {
	// Login is the client's: empty for the right one, "none", or "wrong".
	Login string `json:",omitempty"`
	// Auth is what the registry wants: empty for tokens, "basic" for a login with every request, or "open" for nothing.
	Auth string `json:",omitempty"`
	// Public says that everybody may pull, with an anonymous token where there are tokens.
	Public bool `json:",omitempty"`
	// Challenges are the WWW-Authenticate lines of a 401 in place of the usual one. {realm} stands for the address of the
	// token server, {scope} for the scope to request, {host} for the registry's host.
	Challenges []string `json:",omitempty"`

	Ping     Ping     `json:",omitzero"`
	Token    Token    `json:",omitzero"`
	Manifest Manifest `json:",omitzero"`
	Blob     Blob     `json:",omitzero"`
	Redirect Redirect `json:",omitzero"`
	Content  Content  `json:",omitzero"`
}

// Ping is the response to GET /v2/.
type Ping struct {
	// Status is sent whatever the login. If zero, it is 200 with a login that is accepted, else 401 with a
	// challenge.
	Status int `json:",omitempty"`
	// Open is 200 whatever the login.
	Open bool `json:",omitempty"`
}

// Token is the token server.
type Token struct {
	// OtherHost has it at [AuthHost].
	OtherHost bool `json:",omitempty"`
	// Scope is what the challenges name, and Needed what a token must be for. Empty means a pull from the repository.
	Scope  string     `json:",omitempty"`
	Needed string     `json:",omitempty"`
	Post   TokenReply `json:",omitzero"`
	Get    TokenReply `json:",omitzero"`
}

// A TokenReply is the response of the token server to one method.
type TokenReply struct {
	// Status is sent in place of 200. With a status of 300 or more there is no token.
	Status int `json:",omitempty"`
	// Times is how many requests are answered with Status; the others are answered as usual. If zero, all are.
	Times int `json:",omitempty"`
	// Body is sent in place of the usual one. {token} stands for a good token.
	Body string `json:",omitempty"`
	// Pad is how many bytes are added to the usual JSON.
	Pad int `json:",omitempty"`
}

// Manifest is how manifests are served.
type Manifest struct {
	// Open serves them without a login.
	Open bool `json:",omitempty"`
	// Silent sends no challenge with a 401.
	Silent bool `json:",omitempty"`
	// Unauthorized is the status for a request without a login. If zero, it is 401.
	Unauthorized int `json:",omitempty"`
	// First are the statuses of the first requests that are let in.
	First []int `json:",omitempty"`
	// Rejected is how many of the first requests with a good token are answered with 401, and RejectedError the error
	// in the challenge.
	Rejected      int    `json:",omitempty"`
	RejectedError string `json:",omitempty"`
	// ScopeError adds error="insufficient_scope" to the challenge for a token that is for something else.
	ScopeError bool `json:",omitempty"`

	Head Reply `json:",omitzero"`
	Get  Reply `json:",omitzero"`
}

// Reply is a deviation of a response.
type Reply struct {
	// Status is sent in place of 200.
	Status int `json:",omitempty"`
	// Type is sent as Content-Type; "none" for no such header.
	Type string `json:",omitempty"`
	// Digest is the Docker-Content-Digest: "none", "upper" (case), "quoted", "other" (of other bytes) or "garbage".
	Digest string `json:",omitempty"`
	// NoLength leaves out Content-Length.
	NoLength bool `json:",omitempty"`
}

// Blob is how configs and layers are served.
type Blob struct {
	// Open serves them without a login.
	Open bool `json:",omitempty"`
	// Unauthorized is the status for a request without a login. If zero, it is 401.
	Unauthorized int `json:",omitempty"`
	// Status is sent in place of 200, for the config or a layer.
	ConfigStatus int `json:",omitempty"`
	LayerStatus  int `json:",omitempty"`
	// First are the statuses of the first requests that are let in.
	First []int `json:",omitempty"`
	// Storage redirects to [StorageHost], which rejects a request that has an Authorization header.
	Storage bool `json:",omitempty"`
}

// Redirect sends parts of the API to [OtherHost], which wants a Basic login if Login is set, and serves everybody else.
type Redirect struct {
	Ping      bool `json:",omitempty"`
	Manifests bool `json:",omitempty"`
	Blobs     bool `json:",omitempty"`
	Login     bool `json:",omitempty"`
}

// Content is an image, an index of images, or an artifact.
type Content struct {
	// OCI has the media types of OCI, in place of docker's.
	OCI bool `json:",omitempty"`
	// Platform is the config's, such as "linux/arm64/v8". Empty means linux/amd64.
	Platform string `json:",omitempty"`
	// Type is the Content-Type. BodyType is the mediaType in the body: empty for the same as usual, or "none".
	Type     string `json:",omitempty"`
	BodyType string `json:",omitempty"`
	// ConfigType and LayerType are the media types in the manifest; "none" for an empty one. The bytes of a layer are
	// compressed unless its type ends in "tar".
	ConfigType string `json:",omitempty"`
	LayerType  string `json:",omitempty"`
	// ConfigText is the config's text in place of the usual.
	ConfigText string `json:",omitempty"`
	// NoLayers has no layers in the manifest, although the config has one.
	NoLayers bool `json:",omitempty"`
	// Missing and Corrupt are "config" or "layer"; the bytes of what is corrupt have another digest. WrongSize is what the
	// manifest states the wrong size of.
	Missing   string `json:",omitempty"`
	Corrupt   string `json:",omitempty"`
	WrongSize string `json:",omitempty"`
	// Pad and ConfigPad are how many bytes are added to manifest and config.
	Pad       int `json:",omitempty"`
	ConfigPad int `json:",omitempty"`
	// Both adds an index's list of manifests to the body of an image, and an image's config to that of an index.
	Both bool `json:",omitempty"`
	// Index makes it an index of these. Then Pad, OCI, Type, BodyType and Both are the index's; the rest is unused.
	Index []Entry `json:",omitempty"`
	// EmptyIndex makes it an index without entries.
	EmptyIndex bool `json:",omitempty"`
}

// An Entry is one of an index.
type Entry struct {
	// Platform is the text of the descriptor's platform, in JSON. Empty means that of Content; "none" that there is none.
	Platform string `json:",omitempty"`
	// Missing says that the registry does not have the manifest.
	Missing bool `json:",omitempty"`
	// WrongSize states the wrong size.
	WrongSize bool    `json:",omitempty"`
	Content   Content `json:",omitzero"`
}

// String returns the scenario as JSON.
func (s Scenario) String() string {
	text, err := json.Marshal(s)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
