package bill

import (
	"errors"
	"math"
	"math/bits"

	"picloud/engine"
)

// ErrTooMuch means that a sum is more than Pence can be.
var ErrTooMuch = errors.New("the sum is too large to be counted")

// share is price × part ÷ whole, rounded up: what is rounded down can be had for
// nothing, again and again. price is not below zero, and
// part is from 0 to whole, which is not 0: so there is nothing to overflow.
func share(price engine.Pence, part, whole int64) engine.Pence {
	hi, lo := bits.Mul64(uint64(price), uint64(part))
	q, r := bits.Div64(hi, lo, uint64(whole))
	if r > 0 {
		q++
	}
	return engine.Pence(q)
}

// sum adds amounts that are not below zero.
func sum(a, b engine.Pence) (engine.Pence, error) {
	if a > math.MaxInt64-b {
		return 0, ErrTooMuch
	}
	return a + b, nil
}
