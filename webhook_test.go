package apigpu

import (
	"strings"
	"testing"
)

func TestCheckWebhookURL(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"https://n8n.example/webhook-waiting/7?signature=a%2Fb": "",
		"http://user:secret@receiver:8080/":                     "",
		"":                                                      "http://",
		"ftp://receiver/":                                       "http://",
		"https:///path":                                         "no host",
		"http://receiver:99999/":                                "port",
		"http://receiver:0/":                                    "port",
		"http://receiver/a b":                                   "space",
		"http://receiver/\r\nX: y":                              "control",
		"http://receiver/é":                                     "ASCII",
		"http://receiver/#part":                                 "fragment",
		"http://receiver/" + strings.Repeat("x", MaxWebhookURL): "2048",
	} {
		err := CheckWebhookURL(raw)
		if want == "" {
			if err != nil {
				t.Errorf("%s: %v", raw, err)
			}
			continue
		}
		if e := AsError(err); err == nil || e.Code != InvalidRequest || e.Field != "webhook_url" || !strings.Contains(e.Message, want) {
			t.Errorf("%.60s: %v, want %q", raw, err, want)
		}
	}
}
