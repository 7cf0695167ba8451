//go:build !linux && !darwin

package main

// canChange knows nothing: what may not be written to fails when it is.
func canChange(string) error { return nil }
