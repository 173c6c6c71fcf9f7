// Package newest tests package kube with the newest client-go. Its own module requires the oldest one that works.
package newest
