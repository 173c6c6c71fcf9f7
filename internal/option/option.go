// Package option reads numeric fields of option structs by the one rule of this module: zero selects the documented
// default, and so does a negative value, unless the field documents that a negative value switches something off.
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

// OrOff is for fields that document that a negative value switches something off. It returns the value, the default if
// the value is zero, and zero if the value is negative.
func OrOff[T number](value, standard T) T {
	return max(0, cmp.Or(value, standard))
}
