package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// n8n plays n8n: it runs an exported workflow, as far as the recipes go. How
// it behaves was read from n8n 2.41.3 and its nodes.
type n8n struct {
	t       testing.TB
	url     string
	key     string            // of the credential that the Caption node uses
	replace *strings.Replacer // addresses of the example by those of the test
	// beforeWait, if set, is called when the workflow is about to wait.
	beforeWait func()

	execution string
	token     string
	mu        sync.Mutex
	waiting   chan item // not nil while the Wait node waits
	resumed   bool
	early     chan struct{} // closed at a call that came before it waited
}

// item is what flows from node to node.
type item struct {
	json   any
	binary map[string][]byte
}

type workflow struct {
	Nodes       []node
	Connections map[string]struct {
		Main [][]struct {
			Node, Type string
			Index      int
		}
	}
}

type node struct {
	Name, Type       string
	TypeVersion      float64
	WebhookID        string `json:"webhookId"`
	Parameters       map[string]any
	RetryOnFail      bool
	MaxTries         int
	WaitBetweenTries int
}

func newN8N(t testing.TB, replace *strings.Replacer) *n8n {
	n := &n8n{t: t, replace: replace, key: key, execution: "231", token: "0a1b%2Fc==", early: make(chan struct{})}
	s := httptest.NewServer(http.HandlerFunc(n.webhookWaiting))
	t.Cleanup(s.Close)
	n.url = s.URL
	return n
}

// resumeURL is $execution.resumeUrl.
func (n *n8n) resumeURL() string {
	return n.url + "/webhook-waiting/" + n.execution + "?signature=" + n.token
}

// webhookWaiting is what resumes a Wait node. Its method is part of the path.
func (n *n8n) webhookWaiting(w http.ResponseWriter, r *http.Request) {
	refuse := func(status int, text string) {
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"message":%q}`, text)
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 16<<20)) // N8N_PAYLOAD_SIZE_MAX
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case err != nil:
		refuse(500, err.Error())
	case r.URL.RawQuery != "signature="+n.token:
		refuse(401, "Invalid token")
	case r.URL.Path != "/webhook-waiting/"+n.execution || r.Method != http.MethodPost:
		refuse(404, "does not contain a waiting webhook with a matching path/method")
	case n.resumed:
		refuse(409, "The execution has finished already.")
	case n.waiting == nil:
		select {
		case <-n.early:
		default:
			close(n.early)
		}
		refuse(409, "The execution is running already.")
	default:
		var decoded any
		if err := json.Unmarshal(body, &decoded); err != nil {
			refuse(422, "Failed to parse request body")
			return
		}
		n.resumed = true
		n.waiting <- item{json: map[string]any{"body": decoded, "headers": map[string]any{}, "query": map[string]any{}, "params": map[string]any{}}}
		fmt.Fprint(w, `{"message":"Workflow was started"}`)
	}
}

// run executes a workflow from its trigger and returns the item of each node.
// A node that fails ends it.
func (n *n8n) run(file string) (map[string]item, error) {
	n.t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		n.t.Fatal(err)
	}
	var w workflow
	if err := json.Unmarshal(raw, &w); err != nil {
		n.t.Fatal(err)
	}
	nodes := map[string]node{}
	for _, node := range w.Nodes {
		if _, twice := nodes[node.Name]; twice {
			n.t.Fatalf("two nodes are named %s", node.Name)
		}
		nodes[node.Name] = node
	}
	results := map[string]item{}
	now, in := "Start", item{json: map[string]any{}}
	for range len(w.Nodes) {
		node, known := nodes[now]
		if !known {
			n.t.Fatalf("%s leads to %s, which is not there", file, now)
		}
		out, branch, err := n.execute(node, in)
		if err != nil {
			return results, fmt.Errorf("node %s: %w", now, err)
		}
		results[now] = out
		next := w.Connections[now].Main
		if branch >= len(next) || len(next[branch]) == 0 {
			return results, nil
		}
		if next[branch][0].Type != "main" {
			n.t.Fatalf("%s: a connection of type %s", file, next[branch][0].Type)
		}
		now, in = next[branch][0].Node, out
	}
	return results, nil
}

// execute runs one node and returns its item and the output that it leaves by.
func (n *n8n) execute(node node, in item) (out item, branch int, err error) {
	switch kind := fmt.Sprintf("%s@%g", strings.TrimPrefix(node.Type, "n8n-nodes-base."), node.TypeVersion); kind {
	case "manualTrigger@1":
		return in, 0, nil
	case "set@3.4":
		fields := map[string]any{}
		for _, a := range list(dig(node.Parameters, "assignments.assignments")) {
			fields[text(dig(a, "name"))] = n.value(dig(a, "value"), in)
		}
		return item{json: fields}, 0, nil
	case "httpRequest@4.2":
		out, err = n.retried(node, in)
		return out, 0, err
	case "wait@1.1":
		out, err = n.wait(node, in)
		return out, 0, err
	case "if@2.2":
		c := list(dig(node.Parameters, "conditions.conditions"))[0]
		if dig(c, "operator.operation") != "equals" {
			n.t.Fatalf("node %s: an operation that is not played", node.Name)
		}
		if n.value(dig(c, "leftValue"), in) != n.value(dig(c, "rightValue"), in) {
			branch = 1
		}
		return in, branch, nil
	case "stopAndError@1":
		return item{}, 0, errors.New(text(n.value(node.Parameters["errorMessage"], in)))
	default:
		n.t.Fatalf("node %s is a %s, which is not played", node.Name, kind)
		return item{}, 0, nil
	}
}

// wait is the Wait node: its webhook takes GET unless another method is set.
func (n *n8n) wait(node node, _ item) (item, error) {
	p := node.Parameters
	if p["resume"] != "webhook" || p["httpMethod"] != "POST" || node.WebhookID == "" || p["limitWaitTime"] != true {
		n.t.Errorf("node %s would not be resumed by a POST, or waits for ever: %v", node.Name, p)
	}
	if n.beforeWait != nil {
		n.beforeWait()
	}
	resumed := make(chan item, 1)
	n.mu.Lock()
	n.waiting = resumed
	n.mu.Unlock()
	select {
	case out := <-resumed:
		return out, nil
	case <-time.After(2 * time.Minute):
		return item{}, errors.New("nobody resumed it")
	}
}

// retried is Retry on Fail: 2 to 5 tries, up to 5 s apart.
func (n *n8n) retried(node node, in item) (out item, err error) {
	tries := 1
	if node.RetryOnFail {
		tries = min(max(node.MaxTries, 2), 5)
	}
	for try := range tries {
		if try > 0 {
			time.Sleep(min(time.Duration(node.WaitBetweenTries)*time.Millisecond, 5*time.Second) / 10) // a tenth: the pause is not what is tested
		}
		if out, err = n.request(node, in); err == nil {
			return out, nil
		}
	}
	return item{}, err
}

// request is the HTTP Request node: it follows redirects, fails on whatever
// is not 2xx, and makes of the answer what its content type says.
func (n *n8n) request(node node, in item) (item, error) {
	p := node.Parameters
	method, _ := p["method"].(string)
	if method == "" {
		method = http.MethodGet
	}
	var body io.Reader
	if p["sendBody"] == true { // fields, sent as JSON: the defaults
		fields := map[string]any{}
		for _, f := range list(dig(p, "bodyParameters.parameters")) {
			fields[text(dig(f, "name"))] = n.value(dig(f, "value"), in)
		}
		raw, err := json.Marshal(fields)
		if err != nil {
			return item{}, err
		}
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(n.t.Context(), method, text(n.value(p["url"], in)), body)
	if err != nil {
		return item{}, err
	}
	req.Header.Set("Accept", "application/json,text/html,application/xhtml+xml,application/xml,text/*;q=0.9, image/*;q=0.8, */*;q=0.7")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if p["sendHeaders"] == true {
		for _, h := range list(dig(p, "headerParameters.parameters")) {
			req.Header.Set(text(dig(h, "name")), text(n.value(dig(h, "value"), in)))
		}
	}
	if p["genericAuthType"] == "httpHeaderAuth" {
		req.Header.Set("X-API-Key", n.key)
	}
	timeout, redirects := 300*time.Second, 21
	if ms, ok := dig(p, "options.timeout").(float64); ok {
		timeout = time.Duration(ms) * time.Millisecond
	}
	if most, ok := dig(p, "options.redirect.redirect.maxRedirects").(float64); ok {
		redirects = int(most)
	}
	client := &http.Client{Timeout: timeout, CheckRedirect: func(_ *http.Request, via []*http.Request) error {
		if len(via) > redirects {
			return errors.New("too many redirects")
		}
		return nil
	}}
	resp, err := client.Do(req)
	if err != nil {
		return item{}, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return item{}, err
	}
	if resp.StatusCode/100 != 2 {
		return item{}, fmt.Errorf("%s: %s", resp.Status, raw)
	}
	contentType := resp.Header.Get("Content-Type")
	switch {
	case dig(p, "options.response.response.responseFormat") == "file":
		return item{binary: map[string][]byte{text(dig(p, "options.response.response.outputPropertyName")): raw}}, nil
	case strings.Contains(contentType, "application/json"):
		var decoded any
		err := json.Unmarshal(raw, &decoded)
		return item{json: decoded}, err
	case strings.Contains(contentType, "video/"):
		return item{binary: map[string][]byte{"data": raw}}, nil
	}
	return item{json: map[string]any{"data": string(raw)}}, nil
}

var expression = regexp.MustCompile(`\{\{\s*([^}]*?)\s*\}\}`)

// value evaluates a parameter: an expression where it begins with =, with the
// few words that the recipes use.
func (n *n8n) value(parameter any, in item) any {
	s, isText := parameter.(string)
	if !isText {
		return parameter
	}
	template, isExpression := strings.CutPrefix(s, "=")
	if !isExpression {
		return n.replace.Replace(s)
	}
	word := func(w string) any {
		switch {
		case w == "$execution.id":
			return n.execution
		case w == "$execution.resumeUrl":
			return n.resumeURL()
		case w == "$workflow.id":
			return "IwUDYbNvuuO9Cmgf"
		case w == "$itemIndex", w == "$runIndex": // neither changes when a node is tried again
			return "0"
		case strings.HasPrefix(w, "$json."):
			return dig(in.json, strings.ReplaceAll(strings.TrimPrefix(w, "$json."), "?", ""))
		}
		n.t.Fatalf("an expression that is not played: %s", w)
		return nil
	}
	if m := expression.FindStringSubmatch(template); m != nil && m[0] == template {
		return word(m[1]) // alone it keeps its type
	}
	return expression.ReplaceAllStringFunc(template, func(e string) string {
		return text(word(expression.FindStringSubmatch(e)[1]))
	})
}

// dig returns what is at a path of names in decoded JSON, or nil.
func dig(v any, path string) any {
	for name := range strings.SplitSeq(path, ".") {
		fields, _ := v.(map[string]any)
		v = fields[name]
	}
	return v
}

func list(v any) []any { l, _ := v.([]any); return l }

func text(v any) string { return strings.TrimSuffix(fmt.Sprintln(v), "\n") }

// recipe is a file of docs/recipes.
func recipe(name string) string { return filepath.Join("..", "..", "docs", "recipes", name) }

// addresses puts a test's addresses in place of the examples'.
func addresses(server, files string, more ...string) *strings.Replacer {
	return strings.NewReplacer(append([]string{
		"https://video.example.com", server, "https://example.com/video.mp4", files + "/v.mp4", "https://example.com/captions.srt", files + "/s.srt",
	}, more...)...)
}

// base is the address of the server that a link points at.
func base(link string) string {
	u, err := url.Parse(link)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}
