// Package validate checks, before a workload is published, whether a registry accepts a login and whether an image can
// be pulled with it. If not, it reports the cause and the fix.
//
// A [Checker] sends the requests. [Checker.Login] checks a login, [Checker.Image] checks one image with the candidates
// that a kubelet would try, and [Checker.Images] checks many images at once. The error is nil only if the image can be
// pulled. Otherwise it is a [registry.Error] with a code for the registry's response and a hint with the fix. The
// [Result] holds the evidence: the requests and their responses. [Checker.Repositories] and [Checker.Tags] list the
// repositories and tags that a user can choose from. Package workload finds the images in Kubernetes manifests.
//
// A verdict is never a guess. Each check ends with a request for the manifest itself, because a token proves nothing:
// Docker Hub, Harbor, Quay and GitLab issue tokens for repositories that do not exist. If a registry does not
// distinguish missing from forbidden, the verdict is [registry.ErrHidden]. docs/verdicts.md lists the verdicts by
// registry.
//
// The package does not pull: it never reads layers. It does not depend on Kubernetes: package pullsecret decides which
// credentials a kubelet would try. A check runs where the program runs: a node may trust other certificates and use
// another proxy.
package validate
