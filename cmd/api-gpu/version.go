package main

import "runtime/debug"

// stamped is set by the linker (-X main.stamped=v1.2.3) where a build has no
// repository to take the version from, as in an image. Nothing else writes it.
var stamped string

// version is that of the build: its tag, or a commit after one.
func version() string {
	if stamped != "" {
		return stamped
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
