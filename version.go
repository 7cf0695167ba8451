package apigpu

import "runtime/debug"

// version is set by the linker for a release:
// -ldflags "-X github.com/api-gpu/api-gpu.version=v0.1.0".
var version string

// Version returns the version of this program: the release's, else the
// module's or the commit's, else "devel".
func Version() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "devel-" + s.Value[:12]
		}
	}
	return "devel"
}
