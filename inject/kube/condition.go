package kube

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/registry"
)

// ConditionReady is the type of the condition that [Pass.Ready] returns.
const ConditionReady = "Ready"

// Ready returns what a pass over all namespaces says of a target, as a condition for the status of an object. It is
// true if the secret is everywhere as it should be; unknown if the cluster did not answer, or if no more is wrong than
// that it cannot be watched anymore; else false, also while a secret that cannot be renewed is still good. The reason
// is Published, ClusterUnavailable, or the first problem's. The time of the transition is for meta.SetStatusCondition
// to set.
func (p Pass) Ready(target string) metav1.Condition {
	if p.Err != nil {
		return condition(metav1.ConditionUnknown, "ClusterUnavailable", p.Err.Error())
	}
	var problems []inject.Problem
	for _, problem := range p.Result.Problems {
		if problem.Target == target || problem.Target == "" { // A service account names the secrets of several.
			problems = append(problems, problem)
		}
	}
	if len(problems) == 0 {
		return condition(metav1.ConditionTrue, "Published", "")
	}
	lines := make([]string, len(problems))
	for i, problem := range problems {
		problem.Target = "" // The object that carries the condition says it.
		lines[i] = problem.Error()
	}
	slices.Sort(lines)
	if more := len(lines) - maxLines; more > 0 {
		lines = append(lines[:maxLines], fmt.Sprintf("and %d more", more))
	}
	message := shorten(strings.Join(lines, "\n"), maxMessage)
	for _, problem := range problems {
		if !errors.Is(problem.Err, registry.ErrStale) {
			return condition(metav1.ConditionFalse, problem.Reason(), message)
		}
	}
	return condition(metav1.ConditionUnknown, problems[0].Reason(), message)
}

// What a message holds at most: lines that a person reads, and bytes that the API takes (metav1.Condition).
const maxLines, maxMessage = 5, 32768

// shorten cuts a text that is longer than so many bytes, between two characters.
func shorten(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most-len("...")], "") + "..."
}

func condition(status metav1.ConditionStatus, reason, message string) metav1.Condition {
	return metav1.Condition{Type: ConditionReady, Status: status, Reason: reason, Message: message}
}
