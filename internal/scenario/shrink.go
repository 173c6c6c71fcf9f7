package scenario

import "reflect"

// Shrink returns the simplest scenario that it finds, starting from s, for which fails is true: one with as few
// deviations as possible. It calls fails about once for each deviation, repeatedly, until no deviation can be removed.
func Shrink(s Scenario, fails func(Scenario) bool) Scenario {
	for changed := true; changed; {
		changed = false
		for step := 0; ; step++ {
			smaller, ok := without(s, step)
			if !ok {
				break
			}
			if fails(smaller) {
				s, changed = smaller, true
				step-- // The next deviations have moved up.
			}
		}
	}
	return s
}

// without returns a copy of s without one deviation, and whether s has that many.
func without(s Scenario, step int) (Scenario, bool) {
	c := deepCopy(reflect.ValueOf(s))
	n := step
	if !drop(c, &n) {
		return s, false
	}
	return c.Interface().(Scenario), true
}

func deepCopy(v reflect.Value) reflect.Value {
	c := reflect.New(v.Type()).Elem()
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			c.Field(i).Set(deepCopy(v.Field(i)))
		}
	case reflect.Slice:
		for i := range v.Len() {
			c.Set(reflect.Append(c, deepCopy(v.Index(i))))
		}
	default:
		c.Set(v)
	}
	return c
}

// drop sets the n-th deviation in v to zero: first a whole struct or slice, then its parts.
func drop(v reflect.Value, n *int) bool {
	if v.IsZero() {
		return false
	}
	if v.Type() != reflect.TypeFor[Scenario]() {
		if *n == 0 {
			v.SetZero()
			return true
		}
		*n--
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if drop(v.Field(i), n) {
				return true
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			if v.Len() > 1 {
				if *n == 0 {
					v.Set(reflect.AppendSlice(v.Slice(0, i), v.Slice(i+1, v.Len())))
					return true
				}
				*n--
			}
			// A zero number in a list is not simpler: a number can only be removed.
			if v.Type().Elem().Kind() != reflect.Int && drop(v.Index(i), n) {
				return true
			}
		}
	}
	return false
}
