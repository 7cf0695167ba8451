package ffmpeg

import (
	"syscall"
	"unsafe"
)

// deathSignal is the signal that this process gets when its parent ends.
func deathSignal() (signal int32) {
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_GET_PDEATHSIG, uintptr(unsafe.Pointer(&signal)), 0); errno != 0 {
		return -1
	}
	return signal
}
