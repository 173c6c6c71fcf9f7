package validate

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/regcred/regcred/registry"
)

// An indexEntry is an entry of an index with its platform as written there.
type indexEntry struct {
	Digest    v1.Hash         `json:"digest"`
	Size      int64           `json:"size"`
	MediaType types.MediaType `json:"mediaType"`
	Platform  *struct {
		OS           string   `json:"os"`
		Architecture string   `json:"architecture"`
		Variant      string   `json:"variant"`
		OSVersion    string   `json:"os.version"`
		OSFeatures   []string `json:"os.features"`
	} `json:"platform"`
}

func (e indexEntry) platform() Platform {
	if e.Platform == nil {
		return Platform{}
	}
	return platformOf(e.Platform.OS, e.Platform.Architecture, e.Platform.Variant, e.Platform.OSVersion)
}

func parseIndex(body []byte) ([]indexEntry, *registry.Error) {
	var index struct {
		Manifests []indexEntry `json:"manifests"`
	}
	if json.Unmarshal(body, &index) != nil || len(index.Manifests) > maxManifests {
		return nil, errorf(registry.ErrUnavailable, "the index in the response cannot be read")
	}
	for _, e := range index.Manifests {
		if !isDigest(e.Digest.String()) || e.Size < 0 {
			return nil, errorf(registry.ErrUnavailable, "the index in the response names a manifest without a digest or a size")
		}
	}
	return index.Manifests, nil
}

// An entryKey identifies an entry that was checked for a platform.
type entryKey struct {
	digest   v1.Hash
	platform Platform
}

func (k *check) inspectIndex(ctx context.Context, f *imageInfo, body []byte) *registry.Error {
	entries, err := parseIndex(body)
	if err != nil {
		return err
	}
	k.t.seen.entries = entries
	for _, e := range entries {
		// An entry with an unknown platform is an attestation or signature, not an image.
		if e.Platform != nil && e.MediaType.IsImage() && e.Platform.OS != "unknown" {
			f.platforms = append(f.platforms, e.platform())
		}
	}
	wanted := k.a.o.s.c.Platforms
	if len(wanted) == 0 {
		return k.inspectAll(ctx, f, entries, 0)
	}
	done := make(map[entryKey]bool)
	missing := make([][]string, len(k.a.rules.lines))
	for _, p := range wanted {
		for i, l := range k.a.rules.lines {
			candidates := k.a.rules.selectEntries(l, p, f.mediaType, entries)
			if len(candidates) == 0 {
				missing[i] = append(missing[i], p.String())
				continue
			}
			found, err := k.inspectEntries(ctx, f, i, p, candidates, done, 0)
			if err != nil {
				return err
			}
			if !found {
				missing[i] = append(missing[i], p.String())
			}
		}
	}
	for i, list := range missing {
		if list != nil {
			k.failLine(i, No, k.a.rules.platformMissing(k.a.rules.lines[i], wanted, entries, list, f.platforms))
		}
	}
	return nil
}

// inspectAll checks all images of an index, for a check without platforms.
func (k *check) inspectAll(ctx context.Context, f *imageInfo, entries []indexEntry, depth int) *registry.Error {
	for _, e := range entries {
		if err := k.step(ctx, 1); err != nil {
			return err
		}
		if e.Platform != nil && e.Platform.OS == "unknown" {
			continue
		}
		m, err := k.member(ctx, e)
		this := visit{digest: e.Digest}
		if m.image == nil {
			this.depth = depth + 1
		}
		switch {
		case err != nil:
			return err
		case m.image == nil && (depth == maxNesting || !k.a.rules.nested):
			return k.a.rules.noNesting()
		case k.hasVisited(this):
			continue
		case m.image == nil:
			err = k.inspectAll(ctx, f, m.nested, depth+1)
		default:
			f.size = max(f.size, sizeOf(m.image))
			err = k.deep(ctx, f, m.image)
		}
		if err != nil {
			return err
		}
		k.remember(this, visitResult{})
	}
	return nil
}

func (r *runtimeRules) noNesting() *registry.Error {
	return r.incompatible(registry.ErrManifest, Exchange{}, "the index names another index", "name the images in one index")
}

// inspectEntries checks the entries that a line tries for the platform, in order, until one is for the platform. It
// reports whether one is.
func (k *check) inspectEntries(ctx context.Context, f *imageInfo, i int, p Platform, candidates []indexEntry,
	done map[entryKey]bool, depth int) (bool, *registry.Error) {
	rules, l := k.a.rules, k.a.rules.lines[i]
	if l.allEntries {
		for _, e := range candidates[1:] {
			if err := k.step(ctx, 1); err != nil {
				return false, err
			}
			if err := k.complete(ctx, e); err != nil && k.endsCheck(ctx, err) {
				return false, err
			} else if err != nil {
				k.failLine(i, No, err)
			}
		}
	}
	for _, e := range candidates {
		if err := k.step(ctx, 1); err != nil {
			return false, err
		}
		m, err := k.member(ctx, e)
		switch {
		case err != nil:
			return false, err
		case m.image == nil && (depth == maxNesting || !rules.nested):
			k.failLine(i, No, rules.noNesting())
			return true, nil
		case m.image == nil:
			r := k.inspectNested(ctx, f, visit{e.Digest, p, i, depth + 1}, m.nested, done)
			switch {
			case r.err != nil && (!rules.skipsNested || k.endsCheck(ctx, r.err)):
				return false, r.err
			case r.found:
				return true, nil
			case r.empty && rules.skipsNested:
				return false, nil // An entry without a match is no error, and ends the search.
			}
			continue
		}
		config, err := k.config(ctx, m.image, m.mediaType)
		if err != nil {
			return false, err
		}
		if rules.configOS && config.otherOS(p) {
			k.failLine(i, No, platformNotFound([]string{p.String()}, []Platform{config.platform()}))
		}
		var wrong *registry.Error // It pulls, and cannot run.
		if rules.isUnnamed(e) {
			q := config.platform()
			if !l.configVariant {
				q.Variant = ""
			}
			if p.rank(q, l.bits32 || l.unnamedBits32, rules.cpuVariants) < 0 {
				if rules.unnamed != unnamedFirst {
					continue
				}
				wrong = platformNotFound([]string{p.String()}, []Platform{q})
			} else if !slices.Contains(f.platforms, q) {
				f.platforms = append(f.platforms, q)
			}
		}
		key := entryKey{e.Digest, p}
		if done[key] {
			return true, nil
		}
		done[key] = true
		f.size = max(f.size, sizeOf(m.image))
		k.checkDiffIDs(m.image, m.mediaType, config)
		k.checkTypes(m.image, m.mediaType, true)
		if wrong != nil {
			k.failLine(i, Yes, wrong)
		}
		return true, k.deep(ctx, f, m.image)
	}
	return false, nil
}

// inspectNested checks the entries of an index in an index as [check.inspectEntries] does. Its result for the same
// index, platform, line and depth is computed once.
func (k *check) inspectNested(
	ctx context.Context, f *imageInfo, this visit, entries []indexEntry, done map[entryKey]bool,
) (r visitResult) {
	if known, ok := k.visits[this]; ok {
		return known
	}
	if r.err = k.step(ctx, len(entries)); r.err != nil {
		return r
	}
	inner := k.a.rules.selectEntries(k.a.rules.lines[this.line], this.platform, string(types.OCIImageIndex), entries)
	if r.empty = len(inner) == 0; !r.empty {
		r.found, r.err = k.inspectEntries(ctx, f, this.line, this.platform, inner, done, this.depth)
	}
	k.remember(this, r)
	return r
}

// A visit identifies the check of an entry of an index. Without platforms, only its digest and depth are set. The depth
// of an index counts because maxNesting limits it; the depth of an image is zero.
type visit struct {
	digest   v1.Hash
	platform Platform
	line     int
	depth    int
}

// A visitResult is the result of a visit: whether the index has an image for the platform, and whether no entry of it
// was a candidate.
type visitResult struct {
	found, empty bool
	err          *registry.Error
}

func (k *check) hasVisited(v visit) bool {
	_, ok := k.visits[v]
	return ok
}

func (k *check) remember(v visit, r visitResult) {
	if k.visits == nil {
		k.visits = make(map[visit]visitResult)
	}
	k.visits[v] = r
}

// step takes entries of an index from the budget of the check. It fails if the check is canceled or a budget is
// exhausted. The loops over entries call it because entries that were read before cause no request, which would check
// both.
func (k *check) step(ctx context.Context, entries int) *registry.Error {
	if ctx.Err() != nil {
		return canceled(ctx)
	}
	return k.t.visit(entries)
}

// endsCheck reports whether an error ends the check of an index although the runtime continues after the errors of one
// entry: it may be gone at the next check, or the check itself cannot continue.
func (k *check) endsCheck(ctx context.Context, err *registry.Error) bool {
	return err.Code.Temporary() || k.step(ctx, 0) != nil
}

// complete checks an entry of an index that is fetched but not run.
func (k *check) complete(ctx context.Context, e indexEntry) *registry.Error {
	m, err := k.member(ctx, e)
	switch {
	case err != nil || m.image == nil:
		return err // The entries of a nested index are skipped.
	case k.a.o.s.c.Deep:
		return k.checkBlobs(ctx, m.image)
	}
	_, err = k.config(ctx, m.image, m.mediaType)
	return err
}

// isUnnamed reports whether an entry has no platform.
func (r *runtimeRules) isUnnamed(e indexEntry) bool {
	p := e.Platform
	return p == nil || r.emptyUnnamed && p.OS == "" && p.Architecture == "" && p.Variant == "" && p.OSVersion == "" &&
		p.OSFeatures == nil
}

// selectEntries returns the entries of an index that a line fetches for the platform, the best first. The line stops at
// the first that is for the platform.
func (r *runtimeRules) selectEntries(l line, p Platform, mediaType string, entries []indexEntry) []indexEntry {
	rankOf := func(e indexEntry) int {
		last := maxManifests
		switch {
		case e.Platform == nil && !r.normalizes && types.MediaType(mediaType) == types.DockerManifestList:
			return -1
		case r.isUnnamed(e):
			return last
		case l.osFeatures && len(e.Platform.OSFeatures) > 0:
			return -1
		case !r.normalizes:
			q := Platform{OS: e.Platform.OS, Architecture: e.Platform.Architecture, Variant: e.Platform.Variant}
			return slices.Index(p.exact(), q)
		}
		return p.rank(e.platform(), l.bits32, r.cpuVariants)
	}
	type ranked struct {
		entry indexEntry
		rank  int
	}
	var chosen []ranked
	for _, e := range entries {
		if rank := rankOf(e); rank >= 0 {
			chosen = append(chosen, ranked{e, rank})
		}
	}
	slices.SortStableFunc(chosen, func(a, b ranked) int { return cmp.Compare(a.rank, b.rank) })
	if !l.allEntries && !r.skipsNested {
		chosen = chosen[:min(len(chosen), 1)]
	}
	selected := make([]indexEntry, len(chosen))
	for i, c := range chosen {
		selected[i] = c.entry
	}
	return selected
}

// platformMissing returns the verdict on an index without an image for the platforms: either there is none, or the
// runtime does not recognize it.
func (r *runtimeRules) platformMissing(
	l line, wanted []Platform, entries []indexEntry, missing []string, have []Platform,
) *registry.Error {
	for _, p := range wanted {
		for _, e := range entries {
			if slices.Contains(missing, p.String()) && e.Platform != nil && p.rank(e.platform(), true, false) >= 0 {
				name := *e.Platform
				return r.incompatible(registry.ErrManifest, Exchange{},
					fmt.Sprintf("the index has %s as %q %q %q, in which %s does not recognize it", p, cleanLine(name.OS, 32),
						cleanLine(name.Architecture, 32), cleanLine(name.Variant, 32), l.name(r)),
					fmt.Sprintf("name the platform %s in the index, without os.features, in the words of Go", p))
			}
		}
	}
	return platformNotFound(missing, have)
}

// manifests holds the content of an index entry: an image and its media type as the runtime reads it, or other entries.
// Without an image, it is another index.
type manifests struct {
	image     *v1.Manifest
	mediaType types.MediaType
	nested    []indexEntry
}

// member reads an entry of an index, which is an image or another index. It reads each entry once.
func (k *check) member(ctx context.Context, e indexEntry) (manifests, *registry.Error) {
	key := e.Digest.String()
	if m, ok := k.members[key]; ok {
		return m, nil
	}
	m, err := k.readMember(ctx, e)
	if err == nil {
		if k.members == nil {
			k.members = make(map[string]manifests)
		}
		k.members[key] = m
	}
	return m, err
}

func (k *check) readMember(ctx context.Context, e indexEntry) (m manifests, err *registry.Error) {
	rules := k.a.rules
	f, body, err := k.getAs(ctx, e.Digest.String(), string(e.MediaType))
	m.mediaType = types.MediaType(f.mediaType)
	switch {
	case err != nil && err.Is(registry.ErrNotFound):
		gone := *err
		gone.Code = registry.ErrContentNotFound
		gone.Hint = "push the image again: its index names the manifest of a platform that is missing"
		return m, &gone
	case err != nil:
		return m, err
	case rules.sizes && int64(len(body)) != e.Size:
		return m, rules.incompatible(registry.ErrManifest, Exchange{},
			fmt.Sprintf("the index gives the manifest %s a size of %d bytes, and it has %d", e.Digest, e.Size, len(body)),
			"push the index again")
	case m.mediaType.IsIndex():
		m.nested, err = parseIndex(body)
		return m, err
	case !m.mediaType.IsImage():
		return m, errorf(registry.ErrUnavailable, "the index names a manifest that is not an image")
	}
	image, failed := parseManifest(body)
	if failed != nil {
		return m, &registry.Error{Code: registry.ErrUnavailable, Err: failed}
	}
	m.image = image
	return m, nil
}
