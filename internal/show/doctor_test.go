package show

import (
	"bytes"
	"testing"

	"github.com/api-gpu/api-gpu"
)

func TestChecks(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	Checks(&out, []apigpu.Check{
		{Name: "settings", Status: apigpu.CheckOK, Message: "Fine."},
		{Name: "public_url", Status: apigpu.CheckFailed, Message: "It does\nnot answer.", Hint: "Look at it."},
		{Name: "new", Status: "odd", Message: "Of a newer server."},
	})
	const want = "✓ settings    Fine.\n✗ public_url  It does not answer.\n              Look at it.\n? new         Of a newer server.\n"
	if out.String() != want {
		t.Errorf("%q", &out)
	}
}
