package validate

import (
	"slices"

	"github.com/google/go-containerregistry/pkg/v1/types"
)

// A Runtime is a container runtime of nodes. Runtimes send different requests and read the responses by different
// rules, so that an image may pull on one of them and not on another.
type Runtime string

// The runtimes. docs/runtimes.md lists the rules of each.
const (
	// Containerd is containerd 1.7 and 2. An image must pull on both lines.
	Containerd Runtime = "containerd"
	// CRIO is CRI-O 1.37, and podman and skopeo, which use the same library.
	CRIO Runtime = "CRI-O"
	// Docker is Docker Engine with a graph driver, behind cri-dockerd: all versions up to 28, and 29 where the host was
	// upgraded from one of them.
	Docker Runtime = "Docker"
	// DockerContainerd is Docker Engine 29 with the containerd image store, the default of a new host.
	DockerContainerd Runtime = "Docker (containerd image store)"
)

// runtimeRules describe how a runtime pulls: its requests and their form, and the responses that it accepts. Every
// difference between runtimes is a field here, and each runtime is a row of [runtimeTable]. The rules were observed on
// the runtimes and read in their sources; docs/runtimes.md has the versions.
type runtimeRules struct {
	runtime Runtime // Empty for the requests of this package itself, such as lists of tags.
	lines   []line  // The supported release lines, in which rules for content may differ.

	loginRules
	manifestRules
	indexRules
}

// loginRules are the rules for challenges and tokens.
type loginRules struct {
	// pingFirst is set if the runtime reads challenges from the response to GET /v2/ only, and not from each 401.
	pingFirst bool
	// pingStatus are the statuses of the ping after which the pull continues. Nil means any.
	pingStatus []int
	// strict is set if the runtime reads one challenge from each header line, by the grammar of RFC 2616.
	strict bool
	// order selects one of several challenges.
	order challengeOrder
	// emptyLogin is set if the runtime, without a login, answers a Basic challenge with an empty user name and password.
	emptyLogin bool
	// post is set if the runtime requests a token by POST, with the password in a form. It then requests one by GET only
	// after a status in postFallback.
	post         bool
	postFallback []int
	// challengeScope decides whether the scope of the challenge is requested beside the repository's.
	challengeScope scopeRule
	// account is set if the token request by GET has the user name in the parameter account.
	account bool
	// redirects decides when the login is sent to the host to which the API is redirected.
	redirects redirectRule
	// getFields and postFields are the fields of a token response that hold the token, in order of preference.
	getFields, postFields []string
	// typed is set if expires_in must be an integer, and issued_at a time in the format of RFC 3339. refreshTyped is set
	// if refresh_token must be a string.
	typed, refreshTyped bool
	// tokenStatus are the statuses of a response with a token. Nil means all below 300.
	tokenStatus []int
	// trailing is set if the runtime ignores bytes after the JSON of a token response.
	trailing bool
	// tokenLimit is the largest token response. Zero means that there is no limit.
	tokenLimit int64
}

// A challengeOrder selects one of several challenges.
type challengeOrder int

const (
	bearerOrBasic challengeOrder = iota // Bearer if it has a realm, else Basic.
	bearerFirst                         // Bearer, which must have a realm, at any position.
	headerOrder                         // The first of Bearer and Basic; a Bearer without a realm is an error.
	basicWins                           // A token is requested for Bearer, and Basic is sent if it is offered, too.
)

// A redirectRule decides when a runtime sends the login to the target of a redirect. A check sends it to hosts of
// [Checker.Realms] only.
type redirectRule int

const (
	redirectNever  redirectRule = iota
	redirectAsked               // After it responded with a challenge, and with all later requests of the pull.
	redirectPinged              // At once, if GET /v2/ was redirected there, too, and was answered with a challenge.
)

// A scopeRule decides when the scope of a challenge is requested.
type scopeRule int

const (
	scopeNever    scopeRule = iota
	scopeAlways             // With each token.
	scopeOnDemand           // After a 401 with error="insufficient_scope", once.
)

// manifestRules are the rules for the responses to manifest requests.
type manifestRules struct {
	// head is the use of HEAD.
	head headRule
	// exactType is set if the runtime compares the media type as sent, without parameters, and not in lower case.
	exactType bool
	// headType and headLength are set if the response to HEAD must have a Content-Type and a Content-Length.
	headType, headLength bool
	// dockerLayers is set if a manifest of Docker's type must name layers of Docker's types. ociConfig is set if a
	// manifest that is not in an index must name a config, and an OCI manifest must not name a config of Docker's type.
	dockerLayers, ociConfig bool
	// bodyType is set if the mediaType in the manifest, if present, must equal the media type of the response.
	// anyIndexType is set if the runtime ignores the mediaType in an index.
	bodyType, anyIndexType bool
	// dockerBodyType is set if a manifest of Docker's type must have a mediaType.
	dockerBodyType bool
	// dockerMixed is set if the runtime accepts a manifest of Docker's types that has the fields of an image and of an
	// index, and reads it by its media type.
	dockerMixed bool
	// manifestLimit and configLimit are the largest sizes in bytes. Zero means that there is no limit.
	manifestLimit, configLimit int64
	// sizes is set if a manifest must have the size that its descriptor gives, and configSize if a config must.
	sizes, configSize bool
	// configOS is set if the pull fails for a config with another operating system than the node's.
	configOS bool
}

// A headRule is a runtime's use of HEAD.
type headRule int

const (
	headNever   headRule = iota // GET by tag.
	headDecides                 // HEAD decides; GET follows 405, and a response without digest or length.
	headHint                    // After any HEAD that fails, GET follows.
)

// indexRules are the rules by which the entry of an index is chosen.
type indexRules struct {
	// normalizes is set if the runtime reads x86_64 as amd64 and an empty os as linux, and ignores case.
	normalizes bool
	// unnamed is the treatment of entries without a platform. emptyUnnamed is set if an empty platform counts as none.
	unnamed      unnamedRule
	emptyUnnamed bool
	// nested is set if an entry may be an index, and skipsNested if the runtime tries the next entry after an error in
	// such an index.
	nested, skipsNested bool
	// cpuVariants is set if the runtime pulls newer variants of amd64 that the CPU supports. Otherwise, the node is v1.
	cpuVariants bool
}

// An unnamedRule is a runtime's treatment of the entries of an index that have no platform.
type unnamedRule int

const (
	unnamedConfig unnamedRule = iota // The first one, if no entry has the platform; its config decides.
	unnamedFirst                     // The first one, if no entry has the platform, whatever it is for.
)

// A line is a supported release line of a runtime, with the rules that changed between lines.
type line struct {
	version string // "1.7"; empty if there is one line.
	// configTypes are the media types of configs that the line unpacks, by the media type of the manifest.
	configTypes map[types.MediaType][]types.MediaType
	// layerTypes is set if the line does not unpack layers of an unknown media type. otherLayers are additional media
	// types that it unpacks.
	layerTypes  bool
	otherLayers []types.MediaType
	// lazy is set if the pull of an image that the line cannot unpack reports success without fetching the layers.
	// Otherwise the pull fails.
	lazy bool
	// emptyArtifacts is set if a config of another type that lists no layers pulls, unless the manifest has a layer of a
	// known type.
	emptyArtifacts bool
	// diffIDs is set if the config must list as many layers as the manifest. If lazy is set, too, an image whose manifest
	// has no layers pulls, and does not run.
	diffIDs bool
	// allEntries is set if the line fetches all entries of an index for the platform, and not only the best.
	allEntries bool
	// configVariant is set if the line compares the variant in the config of an entry without a platform.
	configVariant bool
	// bits32 is set if a 64-bit node pulls a 32-bit image when there is no other.
	bits32 bool
	// unnamedBits32 is set if it does so for an entry of an index without a platform only.
	unnamedBits32 bool
	// osFeatures is set if the line skips an entry with an unknown os.features.
	osFeatures bool
	// schema1 are the media types of Docker schema 1 that the line pulls.
	schema1 []types.MediaType
	// retryOnce are the statuses after which the line repeats a manifest request once.
	retryOnce []int
}

var (
	usualConfigs = []types.MediaType{types.DockerConfigJSON, types.OCIConfigJSON}
	// oldTypes are the types that registries gave to content in Docker's early years.
	oldTypes      = []types.MediaType{"application/octet-stream", "application/json", "text/html", ""}
	dockerConfigs = append(slices.Clip(usualConfigs), oldTypes...)
	usualForAll   = map[types.MediaType][]types.MediaType{
		types.DockerManifestSchema2: usualConfigs, types.OCIManifestSchema1: usualConfigs,
	}
)

// containerdLogin and containerdManifest are the rules of containerd's resolver, which Docker 29 uses, too.
var (
	containerdLogin = loginRules{
		strict: true, order: bearerFirst,
		post: true, postFallback: []int{400, 401, 404, 405}, challengeScope: scopeAlways,
		getFields: []string{"access_token", "token"}, postFields: []string{"access_token"},
		typed: true, refreshTyped: true, trailing: true,
	}
	containerdManifest = manifestRules{
		head: headDecides, exactType: true, sizes: true, configSize: true,
		manifestLimit: 4 * 1048 * 1048, // From containerd's source, where it is meant to be 4 MiB.
	}
)

func (r loginRules) redirecting(rule redirectRule) loginRules {
	r.redirects = rule
	return r
}

// runtimeTable has a row for each runtime.
var runtimeTable = []*runtimeRules{
	{
		runtime: Containerd,
		lines: []line{
			{version: "1.7", configTypes: usualForAll, layerTypes: true, emptyArtifacts: true, diffIDs: true, bits32: true,
				schema1: []types.MediaType{types.DockerManifestSchema1Signed}},
			{version: "2", configTypes: usualForAll, layerTypes: true, lazy: true, unnamedBits32: true, diffIDs: true, osFeatures: true, allEntries: true,
				configVariant: true, retryOnce: []int{500, 503, 504}},
		},
		loginRules: containerdLogin.redirecting(redirectAsked), manifestRules: containerdManifest,
		indexRules: indexRules{normalizes: true, unnamed: unnamedConfig, nested: true},
	},
	{
		runtime: CRIO,
		lines: []line{{
			configTypes: map[types.MediaType][]types.MediaType{
				types.DockerManifestSchema2: {types.DockerConfigJSON, types.OCIConfigJSON, "application/octet-stream"},
				types.OCIManifestSchema1:    {types.OCIConfigJSON},
			},
			layerTypes: true, lazy: true,
			schema1: []types.MediaType{types.DockerManifestSchema1, types.DockerManifestSchema1Signed},
		}},
		loginRules: loginRules{
			pingFirst: true, pingStatus: []int{200, 401}, strict: true, order: headerOrder, emptyLogin: true,
			challengeScope: scopeOnDemand, account: true,
			getFields: []string{"token", "access_token"}, typed: true, tokenLimit: 1 << 20,
			tokenStatus: []int{200},
		},
		manifestRules: manifestRules{
			head: headNever, bodyType: true, anyIndexType: true, dockerBodyType: true, dockerLayers: true, ociConfig: true, configSize: true,
			manifestLimit: 4 << 20, configLimit: 4 << 20,
		},
		indexRules: indexRules{unnamed: unnamedFirst},
	},
	{
		runtime: Docker,
		lines: []line{{
			configTypes: map[types.MediaType][]types.MediaType{
				types.DockerManifestSchema2: dockerConfigs, types.OCIManifestSchema1: dockerConfigs,
			},
			layerTypes: true, otherLayers: oldTypes, diffIDs: true, bits32: true, osFeatures: true, configVariant: true,
		}},
		loginRules: loginRules{
			pingFirst: true, strict: true, order: basicWins, account: true, redirects: redirectPinged,
			getFields: []string{"access_token", "token"}, typed: true, refreshTyped: true, trailing: true,
		},
		manifestRules: manifestRules{
			head: headHint, headType: true, headLength: true,
			bodyType: true, dockerBodyType: true, dockerMixed: true, configOS: true,
		},
		indexRules: indexRules{normalizes: true, unnamed: unnamedFirst, emptyUnnamed: true, nested: true, skipsNested: true, cpuVariants: true},
	},
	{
		runtime: DockerContainerd,
		lines: []line{{
			configTypes: usualForAll, layerTypes: true, emptyArtifacts: true, diffIDs: true, bits32: true, osFeatures: true,
			configVariant: true, retryOnce: []int{500, 503, 504},
		}},
		loginRules: containerdLogin, manifestRules: containerdManifest,
		indexRules: indexRules{normalizes: true, unnamed: unnamedFirst, nested: true, cpuVariants: true},
	},
}

// ownRules are the rules for requests that no runtime sends, such as lists of tags and the check of a login. They
// accept everything that can be understood.
var ownRules = &runtimeRules{
	loginRules: loginRules{
		order: bearerOrBasic, getFields: []string{"token", "access_token"}, postFields: []string{"access_token", "token"},
		trailing: true,
	},
}

// rules returns the row of the runtime; nil if there is none.
func (r Runtime) rules() *runtimeRules {
	i := slices.IndexFunc(runtimeTable, func(row *runtimeRules) bool { return row.runtime == r })
	if i < 0 {
		return nil
	}
	return runtimeTable[i]
}

// name returns the name of a line: "containerd 1.7".
func (l line) name(r *runtimeRules) string {
	if l.version == "" {
		return string(r.runtime)
	}
	return string(r.runtime) + " " + l.version
}
