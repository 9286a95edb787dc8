// Package assert is the part of testify's assert that the tests of HumanEvalFix call.
package assert

import (
	"math"
	"reflect"
	"testing"
)

// Assertions makes checks on behalf of a test.
type Assertions struct{ t *testing.T }

// New returns the checks of a test.
func New(t *testing.T) *Assertions { return &Assertions{t} }

// Equal fails unless both are deeply equal.
func (a *Assertions) Equal(expected, actual any, _ ...any) bool { return Equal(a.t, expected, actual) }

// NotEqual fails if both are deeply equal.
func (a *Assertions) NotEqual(expected, actual any, _ ...any) bool {
	a.t.Helper()
	return check(a.t, !same(expected, actual), "both are", expected, actual)
}

// True fails unless the value is true.
func (a *Assertions) True(value bool, _ ...any) bool { return Equal(a.t, true, value) }

// False fails unless the value is false.
func (a *Assertions) False(value bool, _ ...any) bool { return Equal(a.t, false, value) }

// Nil fails unless the value is nil.
func (a *Assertions) Nil(value any, _ ...any) bool {
	a.t.Helper()
	return check(a.t, isNil(value), "not nil:", nil, value)
}

// NotNil fails if the value is nil.
func (a *Assertions) NotNil(value any, _ ...any) bool {
	a.t.Helper()
	return check(a.t, !isNil(value), "nil:", nil, value)
}

// InDelta fails unless two numbers are near each other.
func (a *Assertions) InDelta(expected, actual any, delta float64, _ ...any) bool {
	a.t.Helper()
	near := math.Abs(number(expected)-number(actual)) <= delta
	return check(a.t, near, "too far apart:", expected, actual)
}

// Equal fails unless both are deeply equal.
func Equal(t *testing.T, expected, actual any, _ ...any) bool {
	t.Helper()
	return check(t, same(expected, actual), "not equal:", expected, actual)
}

func same(expected, actual any) bool { return reflect.DeepEqual(expected, actual) }

func number(value any) float64 {
	return reflect.ValueOf(value).Convert(reflect.TypeOf(0.0)).Float()
}

func isNil(value any) bool {
	if value == nil {
		return true
	}
	of := reflect.ValueOf(value)
	switch of.Kind() {
	case reflect.Chan, reflect.Func, reflect.Interface, reflect.Map, reflect.Pointer, reflect.Slice:
		return of.IsNil()
	}
	return false
}

func check(t *testing.T, holds bool, what string, expected, actual any) bool {
	t.Helper()
	if !holds {
		t.Errorf("%s expected %#v, actual %#v", what, expected, actual)
	}
	return holds
}
