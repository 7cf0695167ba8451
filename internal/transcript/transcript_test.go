package transcript

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// answers is an API that answers each path with a body.
func answers(t *testing.T, bodies map[string]string) (*http.Client, *Recorder, string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Set-Cookie", "session=planted-cookie")
		_, _ = io.WriteString(w, bodies[r.Method+" "+r.URL.Path])
	}))
	t.Cleanup(server.Close)
	recorder := &Recorder{}
	return &http.Client{Transport: recorder.Through(server.Client().Transport)}, recorder, server.URL
}

func ask(t *testing.T, c *http.Client, method, url, body string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer planted-account-key")
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(got)
}

// conversation holds everything that must not be seen.
var conversation = map[string]string{
	"PUT /api/v0/asks/21034567/": `{"success":true,"new_contract":31234567,"instance_api_key":"planted-instance-key"}`,
	"GET /api/v1/instances/": `{"success":true,"total_instances":2,"instances_found":2,"label_counts":{"ag1.live.a":1,"planted-label":1},
		"next_token":"cGxhbnRlZC10b2tlbg==","instances":[
		{"id":31234567,"label":"ag1.live.a","actual_status":"running","public_ipaddr":"203.0.113.42\n","start_date":1790000000.25,
		 "ports":{"3334/tcp":[{"HostIp":"0.0.0.0","HostPort":"40713"},{"HostIp":"::","HostPort":"40713"}]},
		 "status_msg":"success, running ghcr.io/planted/worker:1.0/args","extra_env":[["SESSION_TOKEN","planted-session-token"],["-p 3334:3334","1"]],
		 "image_uuid":"ghcr.io/planted/worker:1.0","image_args":["serve"],"gpu_name":"RTX 3060","machine_id":18231,"dph_total":0.0531,"onstart":null},
		{"id":31234568,"label":"planted-label","actual_status":"exited","status_msg":"running planted-image","local_ipaddrs":"10.1.2.3 172.17.0.1 \n",
		 "extra_env":[["PLANTED_NAME","planted-value"]],"ssh_host":"ssh5.vast.ai","ssh_port":34567}]}`,
	"GET /api/v0/users/current/":         `{"id":54321,"email":"planted@example.com","credit":12.34,"balance":-3,"can_pay":true,"ssh_key":"ssh-ed25519 planted","total":99.5}`,
	"DELETE /api/v0/instances/31234567/": `{"success":false,"error":"no_such_instance","msg":"Instance 31234567 of user 54321 at 203.0.113.42:40713 not found."}`,
	"GET /api/v0/charges/": `{"count":2,"results":[{"source":"instance-31234567","description":"Instance 31234567","amount":0.01,"metadata":{"label":"ag1.live.a"}},
		{"source":"instance-31234568","description":"planted words","amount":0.02,"metadata":{"label":"planted-label"}}]}`,
	"GET /page": `<html>planted-instance-key at 198.51.100.7, Ray 8a7b6c5d4e3f2a1b</html>`,
}

// record makes all calls of the conversation.
func record(t *testing.T) (*Recorder, string) {
	t.Helper()
	c, recorder, url := answers(t, conversation)
	create := `{"client_id":"me","image":"ghcr.io/planted/worker:1.0","image_login":"-u robot -p planted-pull-token ghcr.io","label":"ag1.live.a","disk":20,
		"env":{"SESSION_TOKEN":"planted-session-token","TLS_SEED":"00planted-seed00","-p 3334:3334":"1","NVIDIA_DRIVER_CAPABILITIES":"compute,video,utility"}}`
	ask(t, c, "PUT", url+"/api/v0/asks/21034567/", create)
	if got := ask(t, c, "GET", url+"/api/v1/instances/?limit=25&order_by="+`%5B%7B%22col%22:%22id%22,%22dir%22:%22asc%22%7D%5D`, ""); got != conversation["GET /api/v1/instances/"] {
		t.Errorf("the answer came as %s", got)
	}
	ask(t, c, "GET", url+"/api/v1/instances/?after_token=cGxhbnRlZC10b2tlbg==", "")
	ask(t, c, "GET", url+"/api/v0/users/current/", "")
	ask(t, c, "DELETE", url+"/api/v0/instances/31234567/", "{}")
	ask(t, c, "GET", url+"/page", "")
	ask(t, c, "GET", url+"/api/v0/charges/", "")
	head, all := recorder.Redacted(Redaction{
		Secrets: []string{"planted-account-key", "planted-pull-token"}, Ours: func(label string) bool { return strings.HasPrefix(label, "ag1.live.") },
	})
	var b bytes.Buffer
	if err := Write(&b, head, all); err != nil {
		t.Fatal(err)
	}
	return recorder, b.String()
}

// Nothing by which somebody could be known is in a transcript.
func TestNothingIsTold(t *testing.T) {
	t.Parallel()
	_, text := record(t)
	for _, secret := range []string{
		"planted", "PLANTED", "203.0.113.42", "198.51.100.7", "10.1.2.3", "172.17.0.1", "40713", "34567", "31234567", "31234568", "21034567", "18231", "54321",
		"12.34", "99.5", "1790000000", "ssh5", "ag1.live", "8a7b6c5d4e3f2a1b", "cGxhbnRl", "Bearer",
	} {
		if strings.Contains(text, secret) {
			t.Errorf("%s is told:\n%s", secret, text)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

// What is needed to compare is: words, types, and which id is which.
func TestShapeIsKept(t *testing.T) {
	t.Parallel()
	_, text := record(t)
	_, all, err := Read(strings.NewReader(text))
	if err != nil || len(all) != 7 {
		t.Fatalf("%d exchanges, %v", len(all), err)
	}
	var created struct {
		Contract int64  `json:"new_contract"`
		Key      string `json:"instance_api_key"`
	}
	var listed struct {
		Token     string `json:"next_token"`
		Instances []map[string]any
	}
	for n, into := range []any{&created, &listed} {
		if err := json.Unmarshal(all[n].Answer, into); err != nil {
			t.Fatal(err)
		}
	}
	ours, other := listed.Instances[0], listed.Instances[1]
	if ours["id"] != float64(created.Contract) || all[4].ID != created.Contract || all[4].Path != "/api/v0/instances/{id}/" || created.Key == "" {
		t.Errorf("the same instance has other ids:\n%s", text)
	}
	for name, want := range map[string]any{
		"actual_status": "running", "public_ipaddr": "192.0.2.1\n", "gpu_name": "RTX 3060", "dph_total": 0.0531, "onstart": nil, "status_msg": "success, running [secret]/args",
	} {
		if ours[name] != want {
			t.Errorf("%s is %v, want %v", name, ours[name], want)
		}
	}
	if start, ok := ours["start_date"].(float64); !ok || start > 1e9 || start == 0 {
		t.Errorf("start_date is %v", ours["start_date"])
	}
	if other["actual_status"] != "exited" || other["status_msg"] == "running" {
		t.Errorf("the stranger's is %v", other)
	}
	if all[2].Query["after_token"] != listed.Token || listed.Token == "" {
		t.Errorf("the token %q was followed by %q", listed.Token, all[2].Query["after_token"])
	}
	if all[1].Query["order_by"] != `[{"col":"id","dir":"asc"}]` || all[1].Query["limit"] != "25" || all[1].Header["Content-Type"] != "application/json" {
		t.Errorf("what was asked is %v, %v", all[1].Query, all[1].Header)
	}
	if want := "no_such_instance"; !bytes.Contains(all[4].Answer, []byte(want)) || !strings.HasPrefix(all[5].Text, "<html>") {
		t.Errorf("the answers are %s and %s", all[4].Answer, all[5].Text)
	}
	if !bytes.Contains(all[6].Answer, []byte(fmt.Sprintf(`"source":"instance-%d"`, created.Contract))) {
		t.Errorf("the charges are %s", all[6].Answer)
	}
	if !bytes.Contains(all[0].Body, []byte(`"-p 3334:3334":"1"`)) || !bytes.Contains(all[0].Body, []byte(`"SESSION_TOKEN":"text-`)) {
		t.Errorf("the create is %s", all[0].Body)
	}
}

// broken is a transport whose answers do not come, or not whole.
type broken struct{ body io.ReadCloser }

func (b broken) RoundTrip(*http.Request) (*http.Response, error) {
	if b.body == nil {
		return nil, errors.New("dial tcp 203.0.113.42:443: connection refused")
	}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: b.body}, nil
}

type cut struct{}

func (cut) Read(p []byte) (int, error) { return copy(p, "{"), io.ErrUnexpectedEOF }
func (cut) Close() error               { return nil }

// An answer that does not come, and one that breaks off, stay what they are.
func TestNoAnswer(t *testing.T) {
	t.Parallel()
	recorder := &Recorder{}
	for _, body := range []io.ReadCloser{nil, cut{}} {
		resp, err := recorder.Through(broken{body}).RoundTrip(httptest.NewRequest(http.MethodGet, "http://api/x/", nil))
		if body == nil {
			if err == nil {
				t.Error("an error was swallowed")
			}
			continue
		}
		if got, err := io.ReadAll(resp.Body); !errors.Is(err, io.ErrUnexpectedEOF) || string(got) != "{" {
			t.Errorf("read %q, %v", got, err)
		}
	}
	_, all := recorder.Redacted(Redaction{})
	if len(all) != 2 || all[0].Status != 0 || strings.Contains(all[0].Error, "203.") || all[0].Error == "" || !strings.Contains(all[1].Text, "breaks off") || recorder.Answers() != 1 {
		t.Errorf("recorded is %+v", all)
	}
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "{}\n", "hello\n", `{"format":"another"}` + "\n", `{"format":"` + Format + `"}` + "\nno json\n"} {
		if _, _, err := Read(strings.NewReader(text)); err == nil {
			t.Errorf("%q was read", text)
		}
	}
}
