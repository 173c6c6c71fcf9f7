// Package workload finds the images in Kubernetes manifests, with their places.
//
// [Images] is the common case: it returns the images of a manifest, ready for a validate.Checker. [Pods] also returns
// the service account and the pull secrets that go with them. A manifest is YAML or JSON, with any number of documents:
// Pods; workloads that create pods (Deployment, StatefulSet, DaemonSet, ReplicaSet, Job, CronJob and the like); lists
// of them; and custom resources, in which everything that looks like the spec of a pod counts as one.
//
// The package calls no Kubernetes API. It does not render templates, and does not see the changes of an admission
// webhook.
package workload
