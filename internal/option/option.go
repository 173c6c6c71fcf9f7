// Package option implements the rule of this module for numeric fields of option structs: zero selects the documented
// default, and so does a negative value, unless the field documents that a negative value disables a feature.
package option

import "cmp"

type number interface {
	~int | ~int64 | ~float64
}

// OrDefault returns the value, or the default if the value is zero or negative.
func OrDefault[T number](value, standard T) T {
	if value > 0 {
		return value
	}
	return standard
}

// OrOff is for fields that document that a negative value disables a feature. It returns the value, the default if the
// value is zero, and zero if the value is negative.
func OrOff[T number](value, standard T) T {
	return max(0, cmp.Or(value, standard))
}
