// Package workload finds the images in Kubernetes manifests, with the places where they stand.
//
// [Images] is the common case: the bytes of a manifest go in, the images come out, ready for a validate.Checker. [Pods]
// tells more: which service account and which pull secrets go with them. A manifest is YAML or JSON, with any number of
// documents: Pods, what makes pods (Deployment, StatefulSet, DaemonSet, ReplicaSet, Job, CronJob and the like), lists
// of them, and custom resources, in which everything that looks like the spec of a pod is taken for one.
//
// It knows no Kubernetes API: it does not ask a cluster, does not render templates, and does not see what an admission
// webhook will add.
package workload
