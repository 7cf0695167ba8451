package ffmpeg

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	Launch() // this program is its own launcher
	goleak.VerifyTestMain(m)
}
