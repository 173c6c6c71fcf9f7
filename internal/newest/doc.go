// Package newest tests package kube with the newest client-go. Package kube's own module requires the oldest one that
// works.
package newest
