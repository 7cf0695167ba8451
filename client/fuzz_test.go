package client

import (
	"net/http"
	"testing"

	"github.com/api-gpu/api-gpu"
)

// FuzzRefusal: whatever stands in a refusal, there is an error with a code and
// a message, and never a wait that makes no sense.
func FuzzRefusal(f *testing.F) {
	f.Add(422, `{"code": "invalid_request", "detail": "no", "status": 422}`, "5")
	f.Add(502, "<html>Bad gateway</html>", "Wed, 21 Oct 2015 07:28:00 GMT")
	f.Add(429, `{"code": "rate_limited", "retry_after": -1e300}`, "-3")
	f.Add(301, `{"code": 7}`, "99999999999999999999")
	f.Add(0, `null`, "")
	f.Fuzz(func(t *testing.T, status int, body, retry string) {
		e := refusalOf("example.com", status, http.Header{"Retry-After": {retry}}, []byte(body))
		if e == nil || e.Code == "" || e.RetryAfter < 0 {
			t.Fatalf("%+v", e)
		}
		if e.Error() == "" || apigpu.CodeOf(e) != e.Code {
			t.Fatalf("%v", e)
		}
	})
}
