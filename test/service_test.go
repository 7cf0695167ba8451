package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestServiceFile lets systemd read the service of docs/DEPLOY_VPS.md, where it
// is there, with a program in the place of ours: it says which keys it does not
// know. What we rely on is looked for in any case.
func TestServiceFile(t *testing.T) {
	t.Parallel()
	unit := ""
	for _, b := range blocksOf(read(t, "docs/DEPLOY_VPS.md")) {
		if strings.HasPrefix(b.text, "# /etc/systemd/system/api-gpu.service\n") {
			unit = b.text + "\n"
		}
	}
	for _, line := range []string{
		"KillMode=process",                        // local workers outlive a restart
		"WorkingDirectory=/opt/api-gpu",           // where .env and data are
		"ExecStart=/opt/api-gpu/bin/orchestrator", // where the page puts it
	} {
		if !strings.Contains(unit, "\n"+line+"\n") {
			t.Errorf("the service lacks %s:\n%s", line, unit)
		}
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Log("systemd is not here: only looked at")
		return
	}
	dir := t.TempDir()
	unit = regexp.MustCompile(`(?m)^(ExecStart|WorkingDirectory)=.*$`).ReplaceAllString(unit, "")
	unit = strings.Replace(unit, "[Service]\n", "[Service]\nExecStart=/bin/true\nWorkingDirectory=/\n", 1)
	file := filepath.Join(dir, "api-gpu.service")
	if err := os.WriteFile(file, []byte(unit), 0o600); err != nil {
		t.Fatal(err)
	}
	// It says what it does not understand, and ends with 0 all the same.
	if out, err := exec.CommandContext(t.Context(), analyze, "verify", file).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd says of the service: %v\n%s", err, out)
	}
}
