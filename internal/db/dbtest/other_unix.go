//go:build unix

package dbtest

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
)

// asOther lets a command run as another user where this process is root,
// whom PostgreSQL refuses, and gives that user the folder.
func asOther(cmd *exec.Cmd, folder string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	other, err := user.Lookup("nobody")
	if err != nil {
		return fmt.Errorf("root may not run it, and there is no other user: %w", err)
	}
	uid, uidErr := strconv.ParseUint(other.Uid, 10, 32)
	gid, gidErr := strconv.ParseUint(other.Gid, 10, 32)
	if uidErr != nil || gidErr != nil {
		return fmt.Errorf("user nobody is %s:%s", other.Uid, other.Gid)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	return os.Chown(folder, int(uid), int(gid))
}
