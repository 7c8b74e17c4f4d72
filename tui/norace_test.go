//go:build !race

package tui

const everySizeStep = 1
