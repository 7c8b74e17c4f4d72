// Package config reads the configuration of "picloud serve": one TOML 1.0
// file that says how a rack is wired (switches, segments, what is known of the
// boards) and how the servers, the stage limits and the guards are set.
//
// One table, schema, holds every key with its meaning, its default's place and
// its check. Reading, checking, [Template] and [Config.Encode] are all drawn
// from it, so they cannot disagree. Defaults that the engine has (stage limits,
// guards) are taken from the engine.
//
// Reading reports every mistake in one go, each as a [Problem] with its place
// and a remedy. What the file says is never run, and a file of any content
// gives problems, never a panic.
package config
