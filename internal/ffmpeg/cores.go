package ffmpeg

import (
	"io/fs"
	"math"
	"os"
	"path"
	"runtime"
	"strconv"
	"strings"
)

// Cores returns how many cores this process may use: the least quota of its
// control groups, and never more than the machine has. FFmpeg itself counts
// the cores of the host, of which a container may have a fraction.
func Cores() float64 { return cores(os.DirFS("/"), runtime.NumCPU()) }

// cores reads the quotas of control groups, version 2 (cpu.max) and 1
// (cpu.cfs_quota_us), under root. Each group up to the top may have one.
// Inside a container the paths in /proc/self/cgroup may be the host's and
// lead nowhere; the walk up ends at the container's own top all the same.
func cores(root fs.FS, host int) float64 {
	limit := float64(host)
	eachGroup(root, "cpu", func(version int, group string) {
		if version == 1 {
			limit = min(limit, quotaV1(root, group))
		} else {
			limit = min(limit, quotaV2(root, group))
		}
	})
	return limit
}

// eachGroup calls visit with the version and the folder of each control group
// that bounds this process for a controller ("cpu", "memory"), from its own
// up to the top.
func eachGroup(root fs.FS, controller string, visit func(version int, group string)) {
	text, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		text = []byte("0::/\n1:" + controller + ":/\n") // not Linux, or hidden: look at the top
	}
	for line := range strings.Lines(string(text)) {
		// "0::/user.slice" in version 2, "4:cpu,cpuacct:/docker/1f" in 1.
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			continue
		}
		version, top := 1, "sys/fs/cgroup/"+controller
		switch {
		case fields[1] == "":
			version, top = 2, "sys/fs/cgroup"
		case !strings.Contains(","+fields[1]+",", ","+controller+","):
			continue
		}
		for group := path.Clean("/" + fields[2]); ; group = path.Dir(group) {
			visit(version, path.Join(top, group))
			if group == "/" {
				break
			}
		}
	}
}

// quotaV2 reads "150000 100000" (1.5 cores) or "max 100000" (no limit).
func quotaV2(root fs.FS, group string) float64 {
	text, err := fs.ReadFile(root, path.Join(group, "cpu.max"))
	if err != nil {
		return math.Inf(1)
	}
	quota, period, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	return quotient(quota, period)
}

// quotaV1 reads a quota of -1 as no limit.
func quotaV1(root fs.FS, group string) float64 {
	quota, err := fs.ReadFile(root, path.Join(group, "cpu.cfs_quota_us"))
	if err != nil {
		return math.Inf(1)
	}
	period, err := fs.ReadFile(root, path.Join(group, "cpu.cfs_period_us"))
	if err != nil {
		return math.Inf(1)
	}
	return quotient(strings.TrimSpace(string(quota)), strings.TrimSpace(string(period)))
}

// quotient returns quota / period, and no limit for what is no quota.
func quotient(quota, period string) float64 {
	q, errQ := strconv.ParseFloat(quota, 64)
	p, errP := strconv.ParseFloat(period, 64)
	if errQ != nil || errP != nil || !(q > 0) || !(p > 0) {
		return math.Inf(1)
	}
	return q / p
}
