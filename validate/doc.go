// Package validate finds out, before a workload is published, whether a registry lets a login in and whether an image
// can be pulled with it; and if not, why, and what to do.
//
// A [Checker] asks; [Checker.Login] checks a login, [Checker.Image] one image with the candidates that a kubelet would
// try, [Checker.Images] many at once. The error is nil only if the image can be pulled; it is a [registry.Error], whose
// code says what the registry said and whose hint says what to do. The [Result] is the evidence: what was asked, and
// what was answered. [Checker.Repositories] and [Checker.Tags] list what there is to choose from. Package workload
// finds the images in Kubernetes manifests.
//
// A verdict is never a guess. It ends in a request for the manifest itself, for a token proves nothing: Docker Hub,
// Harbor, Quay and GitLab hand one out for repositories that do not exist. Where a registry does not say whether a
// thing is missing or forbidden, the verdict is [registry.ErrHidden]. docs/verdicts.md lists the verdicts, registry by
// registry.
//
// It does not pull: layers are never read. It does not know Kubernetes: which credentials a kubelet would try is for
// package pullsecret to say. And it cannot see through the eyes of a node, which may trust other certificates and go
// through another proxy.
package validate
