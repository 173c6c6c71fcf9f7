package validate

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/regcred/regcred/registry"
)

// An imageConfig has the fields of a config that decide where the image runs.
type imageConfig struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
	Variant      string `json:"variant"`
	OSVersion    string `json:"os.version"`
	RootFS       struct {
		DiffIDs []string `json:"diff_ids"`
	} `json:"rootfs"`
}

// otherOS reports whether the config is for another operating system than the node's.
func (c imageConfig) otherOS(node Platform) bool { return c.OS != "" && c.OS != node.OS }

func (c imageConfig) platform() Platform {
	return platformOf(c.OS, c.Architecture, c.Variant, c.OSVersion)
}

// config reads the config of an image, once. For runtimes that do not read the config, a config that is not JSON counts
// as an empty one.
func (k *check) config(ctx context.Context, m *v1.Manifest, manifest types.MediaType) (imageConfig, *registry.Error) {
	var config imageConfig
	if known, ok := k.configs[m.Config.Digest]; ok {
		return known, nil
	}
	if limit := k.a.rules.configLimit; limit > 0 && m.Config.Size > limit {
		return config, k.a.rules.incompatible(registry.ErrManifest, Exchange{},
			fmt.Sprintf("the config is larger than %d bytes", limit), "make the config smaller: fewer labels or less history")
	}
	q := apiRequest{step: StepConfig, method: http.MethodGet, path: k.blobPath(m.Config.Digest), limit: maxConfig}
	a, err := k.open(ctx, q)
	switch {
	case err != nil:
		return config, err
	case !a.ok():
		return config, k.classify(ctx, a)
	case digestOf(m.Config.Digest.Algorithm, a.body) != m.Config.Digest.String():
		return config, k.invalidResponse(a, registry.ErrUnavailable, "the config in the response is not the one that the manifest names")
	case k.a.rules.configSize && int64(len(a.body)) != m.Config.Size:
		return config, k.a.rules.incompatible(registry.ErrManifest, a.ex, fmt.Sprintf(
			"the manifest gives the config a size of %d bytes, and it has %d", m.Config.Size, len(a.body)), "push the image again")
	case json.Unmarshal(a.body, &config) != nil && slices.Contains(usualConfigs, m.Config.MediaType):
		return config, k.invalidResponse(a, registry.ErrUnavailable, "the config in the response is not the config of a container image")
	}
	if k.configs == nil {
		k.configs = make(map[v1.Hash]imageConfig)
	}
	k.configs[m.Config.Digest] = config
	return config, nil
}

// checkPlatform compares the platform of an image that is not in an index. Such an image pulls on every platform,
// except for runtimes with configOS.
func (k *check) checkPlatform(f *imageInfo, m *v1.Manifest, config imageConfig) {
	if t := m.Config.MediaType; !slices.Contains(dockerConfigs, t) && !t.IsConfig() {
		return // Not a container image; checkTypes reports it.
	}
	if config.OS == "" && config.Architecture == "" {
		return
	}
	p := config.platform()
	f.platforms = []Platform{p}
	for i, l := range k.a.rules.lines {
		var missing []string
		pulls := Yes
		for _, w := range k.a.o.s.c.Platforms {
			if w.rank(p, l.bits32, k.a.rules.cpuVariants) < 0 {
				missing = append(missing, w.String())
			}
			if k.a.rules.configOS && config.otherOS(w) {
				pulls = No
			}
		}
		if missing != nil {
			k.failLine(i, pulls, platformNotFound(missing, f.platforms))
		}
	}
}

// checkDiffIDs compares the layers in the config with the layers in the manifest.
func (k *check) checkDiffIDs(m *v1.Manifest, manifest types.MediaType, config imageConfig) {
	listed := len(config.RootFS.DiffIDs)
	for i, l := range k.a.rules.lines {
		usual := slices.Contains(l.configTypes[manifest], m.Config.MediaType)
		err := k.a.rules.incompatible(registry.ErrManifest, Exchange{},
			fmt.Sprintf("the manifest has %d layers, and the config %d", len(m.Layers), listed), "push the image again")
		switch {
		case !usual && l.emptyArtifacts && listed == 0 && !slices.ContainsFunc(m.Layers, isKnownLayer):
			k.failLine(i, Yes, err) // Nothing is unpacked.
		case !l.diffIDs || !usual || listed == len(m.Layers):
		case l.lazy && len(m.Layers) == 0:
			k.failLine(i, Yes, err)
		default:
			k.failLine(i, No, err)
		}
	}
}
