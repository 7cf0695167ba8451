package ffmpeg

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// askForDeath makes this program print which signal ends it with its parent.
const askForDeath = "test.ask-for-death"

// The signal belongs to the thread that the program began on, which is ours
// only as long as nothing but init functions run.
func init() {
	if len(os.Args) == 2 && os.Args[1] == askForDeath {
		fmt.Print(deathSignal())
		os.Exit(0)
	}
}

func TestMain(m *testing.M) {
	Launch() // this program is its own launcher
	goleak.VerifyTestMain(m)
}
