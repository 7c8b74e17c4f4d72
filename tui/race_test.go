//go:build race

package tui

// The race detector makes drawing ten times slower and has nothing to find in
// it: a part of the sizes and of the monkeys will do.
const everySizeStep = 19
