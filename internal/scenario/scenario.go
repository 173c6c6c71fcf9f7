package scenario

import "encoding/json"

// The hosts of every scenario. AuthHost belongs to the site of Host; the other two belong to sites unrelated to Host.
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

// A Scenario is one registry with one image, and one client's login. The zero Scenario is a registry without
// deviations: it has a token server, holds a private image for linux/amd64, and accepts the client's login. Each field
// is a deviation, so a Scenario with fewer fields set is a simpler one.
type Scenario struct {
	// Login is the client's login: empty for the correct one, "none", or "wrong".
	Login string `json:",omitempty"`
	// Pod are the pull secrets of the client's pod, in the order in which it names them. If not nil, Login is unused.
	Pod []Secret `json:",omitempty"`
	// Auth is the registry's authentication: empty for tokens, "basic" for a login with every request, or "open" for none.
	Auth string `json:",omitempty"`
	// Public allows every client to pull, with an anonymous token if there are tokens.
	Public bool `json:",omitempty"`
	// Challenges are the WWW-Authenticate lines of a 401 that replace the default one. {realm} is replaced by the address
	// of the token server, {scope} by the scope to request, {host} by the registry's host.
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
	// Status is sent whatever the login. If zero, it is 200 for an accepted login, and otherwise 401 with a challenge.
	Status int `json:",omitempty"`
	// Open responds with 200 whatever the login.
	Open bool `json:",omitempty"`
}

// Token configures the token server.
type Token struct {
	// OtherHost serves the token server at [AuthHost].
	OtherHost bool `json:",omitempty"`
	// Scope is the scope in the challenges, and Needed the scope that a token needs. Empty means a pull from the
	// repository.
	Scope  string     `json:",omitempty"`
	Needed string     `json:",omitempty"`
	Post   TokenReply `json:",omitzero"`
	Get    TokenReply `json:",omitzero"`
}

// A TokenReply is the response of the token server to one method.
type TokenReply struct {
	// Status replaces 200. With a status of 300 or more there is no token.
	Status int `json:",omitempty"`
	// Times is the number of requests that get Status; the others get the default response. If zero, all get it.
	Times int `json:",omitempty"`
	// Body replaces the default body. {token} is replaced by a valid token.
	Body string `json:",omitempty"`
	// Pad is the number of bytes to add to the default JSON.
	Pad int `json:",omitempty"`
}

// Manifest configures the responses for manifests.
type Manifest struct {
	// Open serves manifests without a login.
	Open bool `json:",omitempty"`
	// Silent sends no challenge with a 401.
	Silent bool `json:",omitempty"`
	// Unauthorized is the status for a request without a login. If zero, it is 401.
	Unauthorized int `json:",omitempty"`
	// First are the statuses of the first authorized requests.
	First []int `json:",omitempty"`
	// Rejected is the number of first requests with a valid token that get a 401, and RejectedError the error in the
	// challenge.
	Rejected      int    `json:",omitempty"`
	RejectedError string `json:",omitempty"`
	// ScopeError adds error="insufficient_scope" to the challenge for a token with another scope.
	ScopeError bool `json:",omitempty"`

	Head Reply `json:",omitzero"`
	Get  Reply `json:",omitzero"`
}

// Reply is a deviation of a response.
type Reply struct {
	// Status replaces 200.
	Status int `json:",omitempty"`
	// Type is the Content-Type; "none" omits the header.
	Type string `json:",omitempty"`
	// Digest is the Docker-Content-Digest: "none", "upper" (case), "quoted", "other" (of other bytes) or "garbage".
	Digest string `json:",omitempty"`
	// NoLength omits Content-Length.
	NoLength bool `json:",omitempty"`
}

// Blob configures the responses for configs and layers.
type Blob struct {
	// Open serves blobs without a login.
	Open bool `json:",omitempty"`
	// Unauthorized is the status for a request without a login. If zero, it is 401.
	Unauthorized int `json:",omitempty"`
	// Status replaces 200, for the config or a layer.
	ConfigStatus int `json:",omitempty"`
	LayerStatus  int `json:",omitempty"`
	// First are the statuses of the first authorized requests.
	First []int `json:",omitempty"`
	// Storage redirects to [StorageHost], which rejects a request that has an Authorization header.
	Storage bool `json:",omitempty"`
}

// Redirect redirects parts of the API to [OtherHost], which requires a Basic login if Login is set, and otherwise none.
type Redirect struct {
	Ping      bool `json:",omitempty"`
	Manifests bool `json:",omitempty"`
	Blobs     bool `json:",omitempty"`
	Login     bool `json:",omitempty"`
}

// Content is an image, an index of images, or an artifact.
type Content struct {
	// OCI uses the media types of OCI instead of docker's.
	OCI bool `json:",omitempty"`
	// Platform is the config's platform, such as "linux/arm64/v8". Empty means linux/amd64.
	Platform string `json:",omitempty"`
	// Type is the Content-Type. BodyType is the mediaType in the body: empty for the default one, or "none".
	Type     string `json:",omitempty"`
	BodyType string `json:",omitempty"`
	// ConfigType and LayerType are the media types in the manifest; "none" for an empty one. The bytes of a layer are
	// compressed unless its type ends in "tar".
	ConfigType string `json:",omitempty"`
	LayerType  string `json:",omitempty"`
	// ConfigText replaces the text of the config.
	ConfigText string `json:",omitempty"`
	// NoLayers omits the layers from the manifest, although the config has one.
	NoLayers bool `json:",omitempty"`
	// Missing and Corrupt are "config" or "layer"; the bytes of a corrupt blob have another digest. WrongSize is the blob
	// whose size in the manifest is wrong.
	Missing   string `json:",omitempty"`
	Corrupt   string `json:",omitempty"`
	WrongSize string `json:",omitempty"`
	// Pad and ConfigPad are the numbers of bytes to add to the manifest and the config.
	Pad       int `json:",omitempty"`
	ConfigPad int `json:",omitempty"`
	// Both adds an index's list of manifests to the body of an image, and an image's config to the body of an index.
	Both bool `json:",omitempty"`
	// Index makes it an index of these entries. Then Pad, OCI, Type, BodyType and Both apply to the index; the rest is
	// unused.
	Index []Entry `json:",omitempty"`
	// EmptyIndex makes it an index without entries.
	EmptyIndex bool `json:",omitempty"`
}

// An Entry is an entry of an index.
type Entry struct {
	// Platform is the descriptor's platform as JSON text. Empty means the platform of Content; "none" omits it.
	Platform string `json:",omitempty"`
	// Missing removes the manifest from the registry.
	Missing bool `json:",omitempty"`
	// WrongSize sets a wrong size in the descriptor.
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
