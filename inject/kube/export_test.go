package kube

// Sent returns the number of events that are remembered.
func (e *Events) Sent() int { return len(e.sent) }
