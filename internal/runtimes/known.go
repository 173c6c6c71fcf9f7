package runtimes

import (
	"cmp"
	"slices"
	"strings"

	"github.com/regcred/regcred/internal/scenario"
)

// A Known is a kind of scenario for which the check intentionally disagrees with a runtime.
type Known struct {
	// What describes the kind, and Why is the reason.
	What, Why string
	// Applies reports whether a scenario is of that kind, for a runtime that pulls or does not.
	Applies func(line string, s scenario.Scenario, pulls bool) bool
}

// Disagreements are all known kinds. A test writes them into docs/proof.md as a table.
var Disagreements = []Known{
	{
		What: "a transient error: the first requests fail, or the first tokens are rejected, and the same requests succeed later",
		Why: "A check sends fewer requests than a pull, so another one of them meets the error; and each runtime repeats a request for " +
			"other errors, another number of times. The kubelet pulls again in any case.",
		Applies: func(_ string, s scenario.Scenario, _ bool) bool {
			return len(s.Manifest.First) > 0 || len(s.Blob.First) > 0 || s.Manifest.Rejected > 0 || s.Token.Get.Times > 0 || s.Token.Post.Times > 0
		},
	},
	{
		What: "the bytes of a layer do not match its digest, or have another size",
		Why:  "A check reads no layers: that would be a pull.",
		Applies: func(_ string, s scenario.Scenario, pulls bool) bool {
			return !pulls && inContent(s.Content, func(c scenario.Content) bool { return c.Corrupt == "layer" || c.WrongSize == "layer" })
		},
	},
	{
		What: "an index with several entries that may be for the node: of the same platform, of 386 beside amd64, or without a platform beside others",
		Why: "containerd 2 fetches all of them, and fails if one is incomplete; both lines then choose among them once more, by rules that " +
			"also see entries that were not fetched. A check reads the one entry that is best.",
		Applies: func(line string, s scenario.Scenario, _ bool) bool {
			return strings.HasPrefix(line, "containerd") && inContent(s.Content, func(c scenario.Content) bool { return len(c.Index) > 1 && ambiguous(c.Index) })
		},
	},
	{
		What: "the config does not belong to a container image, and a layer cannot be read",
		Why: "containerd 2 and CRI-O report a successful pull of such an artifact without fetching its layers. A deep check looks for " +
			"the layers, and nothing can run in any case.",
		Applies: func(_ string, s scenario.Scenario, pulls bool) bool {
			return pulls && inContent(s.Content, func(c scenario.Content) bool { return c.ConfigType != "" || c.LayerType != "" }) &&
				(s.Blob.LayerStatus != 0 || inContent(s.Content, func(c scenario.Content) bool { return c.Missing == "layer" }))
		},
	},
}

// ambiguous reports whether more than one entry may match the node.
func ambiguous(entries []scenario.Entry) bool {
	n := 0
	for _, e := range entries {
		platform := e.Platform
		if platform == "" {
			platform = cmp.Or(e.Content.Platform, "linux/amd64")
		}
		platform = strings.ToLower(platform)
		switch {
		case platform == "none", platform == "null":
			return true
		case strings.Contains(platform, "amd64"), strings.Contains(platform, "x86_64"), strings.Contains(platform, "386"):
			n++
		}
	}
	return n > 1
}

// inContent reports whether holds is true for the content or for any content below it.
func inContent(c scenario.Content, holds func(scenario.Content) bool) bool {
	return holds(c) || slices.ContainsFunc(c.Index, func(e scenario.Entry) bool { return inContent(e.Content, holds) })
}

// known returns the kind of a disagreement, or nil if it is not known.
func known(line string, s scenario.Scenario, pulls bool) *Known {
	for i, k := range Disagreements {
		if k.Applies(line, s, pulls) {
			return &Disagreements[i]
		}
	}
	return nil
}
