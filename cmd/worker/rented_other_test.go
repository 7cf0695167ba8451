//go:build !linux

package main

// crashing is a role of tests on Linux.
const crashing = "crashing"

func runCrashing() {}
