package transcript

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// Redaction says what must not be in a transcript beside what its rules find:
// they keep the values of fields that are known to be words, and of all others
// only what type they have.
type Redaction struct {
	// Secrets are texts that must not be in it anywhere. Those below 4 bytes are
	// words, and are left.
	Secrets []string
	// Ours tells whether an instance of this label is one of the run. Of what
	// else the account has even less is kept.
	Ours func(label string) bool
}

// minSecret is the shortest text that is taken for a secret.
const minSecret = 4

// redactor replaces, always the same by the same.
type redactor struct {
	Redaction
	first  time.Time
	names  map[string]string // what stands for a text: by its kind and itself
	counts map[string]int    // of each kind
	ids    map[string]int64
	// hide masks numbers too: what is answered about the account itself.
	hide bool
}

// Redacted returns all calls in the order in which they began, without what
// must not be seen.
func (r *Recorder) Redacted(how Redaction) (Head, []Exchange) {
	r.mu.Lock()
	calls, lost := slices.Clone(r.calls), r.lost
	r.mu.Unlock()
	sort.SliceStable(calls, func(a, b int) bool { return calls[a].began.Before(calls[b].began) })
	if how.Ours == nil {
		how.Ours = func(string) bool { return false }
	}
	how.Secrets = slices.Clone(how.Secrets)
	x := &redactor{Redaction: how, names: map[string]string{}, counts: map[string]int{}, ids: map[string]int64{}}
	for _, c := range calls {
		if x.first.IsZero() {
			x.first = c.began
		}
		for _, body := range [][]byte{c.body, c.answer} {
			if v, ok := parse(body); ok {
				x.learn("", v)
			}
		}
	}
	// The longest first: one may be a part of another.
	slices.SortFunc(x.Secrets, func(a, b string) int { return len(b) - len(a) })
	var all []Exchange
	for _, c := range calls {
		all = append(all, x.exchange(c))
	}
	return Head{Lost: lost}, all
}

// parse reads JSON and keeps its numbers as they are written.
func parse(raw []byte) (v any, ok bool) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if len(raw) == 0 || d.Decode(&v) != nil || d.More() {
		return nil, false
	}
	return v, true
}

// The keys of fields, by what their values are.
var (
	secretKey = regexp.MustCompile(`(?i)(key|token|secret|password|login|seed|sid)$`)
	idKey     = regexp.MustCompile(`^(id|ids|new_contract)$|_ids?$`)
	portKey   = regexp.MustCompile(`(?i)^host_?port$|_port$`)
	// wordKeys have values out of a list of the API's, or sentences of its.
	wordKeys = wordsOf(`actual_status intended_status cur_state next_state status_msg gpu_name gpu_arch cpu_arch cpu_name driver_version
		verification image_runtype error msg message detail type description source geolocation country_code os_version
		target_state runtype client_id col dir format order order_by args image_args rental_type hosting_type HostIp limit latest_first NVIDIA_DRIVER_CAPABILITIES`)
	// stateKeys are those of them that are kept of a stranger's instance.
	stateKeys  = wordsOf(`actual_status intended_status cur_state next_state image_runtype gpu_name verification HostIp type`)
	operators  = wordsOf(`eq neq gt gte lt lte in notin`)
	moneyKeys  = wordsOf(`balance credit balance_threshold total_spend billed_expected billed_verified`)
	plainKey   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,40}$`)
	portName   = regexp.MustCompile(`^\d{1,5}/(tcp|udp)$`)
	portOption = regexp.MustCompile(`^-p [0-9:/a-z]{1,30}$`)
)

func wordsOf(list string) map[string]bool {
	all := map[string]bool{}
	for _, word := range strings.Fields(list) {
		all[word] = true
	}
	return all
}

// learn finds secrets and ids by the names of their fields.
func (x *redactor) learn(key string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for _, name := range sorted(v) {
			under := name
			if operators[name] || key == "env" {
				under = key
			}
			x.learn(under, v[name])
		}
	case []any:
		for _, each := range v {
			x.learn(key, each)
		}
	case string:
		secret := secretKey.MatchString(key) || (key == "env" || key == "extra_env") && len(v) >= 16 && !portOption.MatchString(v)
		if secret && len(v) >= 8 || (key == "image" || key == "image_uuid") && v != "" {
			x.Secrets = append(x.Secrets, v)
		}
		if idKey.MatchString(key) && digits(v) {
			x.id(v)
		}
	case json.Number:
		if idKey.MatchString(key) && digits(v.String()) {
			x.id(v.String())
		}
	}
}

func digits(s string) bool { return s != "" && s != "0" && strings.Trim(s, "0123456789") == "" }

// id is what stands for an id.
func (x *redactor) id(real string) int64 {
	if x.ids[real] == 0 {
		x.ids[real] = int64(1001 + len(x.ids))
	}
	return x.ids[real]
}

// name is what stands for a text, of which only the kind is told.
func (x *redactor) name(kind, real, form string) string {
	key := kind + " " + real
	if x.names[key] == "" {
		x.counts[kind]++
		x.names[key] = fmt.Sprintf(form, x.counts[kind])
	}
	return x.names[key]
}

// exchange is a call without what must not be seen.
func (x *redactor) exchange(c *call) Exchange {
	e := Exchange{
		At: seconds(c.began.Sub(x.first)), Took: seconds(c.took), Method: c.method, Status: c.status, Header: map[string]string{},
	}
	e.Path, e.ID = x.path(c.path)
	x.hide = strings.Contains(e.Path, "/users/")
	for name, values := range c.query {
		if e.Query == nil {
			e.Query = map[string]string{}
		}
		e.Query[name] = x.parameter(name, values[0])
	}
	e.Body = x.json(c.body)
	if e.Answer = x.json(c.answer); e.Answer == nil {
		e.Text = x.scrub(string(c.answer[:min(len(c.answer), 300)]))
	}
	if strings.HasPrefix(e.Text, "{") || strings.HasPrefix(e.Text, "[") {
		e.Text = "(JSON that breaks off)" // in the middle of what no rule knows
	}
	for name, value := range c.header {
		e.Header[name] = x.scrub(value)
	}
	if c.err != nil {
		e.Error = x.scrub(c.err.Error())
	}
	return e
}

func seconds(d time.Duration) float64 { return float64(d.Milliseconds()) / 1000 }

// path replaces the number in a path.
func (x *redactor) path(path string) (template string, id int64) {
	parts := strings.Split(path, "/")
	for n, part := range parts {
		if digits(part) {
			parts[n], id = "{id}", x.id(part)
		}
	}
	return x.scrub(strings.Join(parts, "/")), id
}

// parameter is one of a query: JSON, or a text.
func (x *redactor) parameter(name, value string) string {
	if v, ok := parse([]byte(value)); ok {
		if text, err := json.Marshal(x.value(name, v, false)); err == nil {
			return x.clean(string(text))
		}
	}
	text, _ := x.value(name, value, false).(string)
	return x.clean(text)
}

// json is a body; nil where it is none.
func (x *redactor) json(raw []byte) json.RawMessage {
	v, ok := parse(raw)
	if !ok {
		return nil
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(x.value("", v, false)); err != nil {
		return nil
	}
	return json.RawMessage(x.clean(strings.TrimSpace(b.String())))
}

// value is what stands for a value under a key.
func (x *redactor) value(key string, v any, foreign bool) any {
	switch v := v.(type) {
	case map[string]any:
		return x.object(key, v, foreign)
	case []any:
		all := make([]any, len(v))
		pair := key == "extra_env" && len(v) == 2
		for n, each := range v {
			if name, ok := each.(string); ok && pair && n == 0 {
				all[n] = x.fieldName(name, foreign)
				continue
			}
			all[n] = x.value(key, each, foreign)
		}
		return all
	case string:
		return x.text(key, v, foreign)
	case json.Number:
		return x.number(key, v)
	}
	return v // true, false, null
}

func (x *redactor) object(key string, o map[string]any, foreign bool) any {
	label, labelled := o["label"].(string)
	if meta, ok := o["metadata"].(map[string]any); ok { // a charge
		label, labelled = meta["label"].(string)
	}
	_, instance := o["actual_status"]
	if _, charge := o["source"]; instance || charge {
		foreign = !labelled || !x.Ours(label)
	}
	all := map[string]any{}
	for name, each := range o {
		under := name
		if operators[name] || key == "env" && name != "NVIDIA_DRIVER_CAPABILITIES" {
			under = key
		}
		shown := x.fieldName(name, false)
		if key == "label_counts" {
			shown = x.label(name)
		}
		all[shown] = x.value(under, each, foreign)
	}
	return all
}

// fieldName is a name as it is where it is one, and not data in its place.
func (x *redactor) fieldName(name string, foreign bool) string {
	if !foreign && (plainKey.MatchString(name) || portName.MatchString(name) || portOption.MatchString(name)) {
		return name
	}
	return x.name("name", name, "name-%d")
}

func (x *redactor) label(label string) string {
	if label == "" {
		return ""
	}
	return x.name("label", label, "label-%d")
}

// text is what stands for a text. Space at its end is kept: clients must bear it.
func (x *redactor) text(key, s string, foreign bool) string {
	body := strings.TrimRight(s, " \n")
	end := s[len(body):]
	switch {
	case body == "" || (key == "env" || key == "extra_env") && body == "1":
		return s
	case idKey.MatchString(key) && digits(body):
		return strconv.FormatInt(x.id(body), 10) + end
	case portKey.MatchString(key) && digits(body):
		return x.name("port", body, "4%04d") + end
	case key == "label":
		return x.label(body) + end
	case wordKeys[key] && (!foreign || stateKeys[key]):
		return x.scrub(body) + end
	}
	if _, err := netip.ParseAddr(body); err == nil {
		return x.address(body) + end
	}
	return x.name("text", body, "text-%d") + end
}

// number is what stands for one. Times become seconds since the first call, or
// milliseconds where they were.
func (x *redactor) number(key string, n json.Number) any {
	f, err := n.Float64()
	switch {
	case err != nil:
		return 0
	case idKey.MatchString(key) && digits(n.String()):
		return x.id(n.String())
	case portKey.MatchString(key) && digits(n.String()):
		return json.Number(x.name("port", n.String(), "4%04d"))
	case x.hide || moneyKeys[key]:
		return min(max(f, -1), 1)
	case x.ids[n.String()] != 0 && f >= 1e4:
		return x.ids[n.String()]
	case f > 1.5e9 && f < 4e9:
		return json.Number(strconv.FormatFloat(f-float64(x.first.UnixMilli())/1000, 'f', 3, 64))
	case f > 1.5e12 && f < 4e12:
		return json.Number(strconv.FormatFloat(f-float64(x.first.UnixMilli()), 'f', 0, 64))
	}
	return n
}

// What is no word in a sentence of the API's.
var (
	addressLike = regexp.MustCompile(`[0-9a-fA-F:.]*[.:][0-9a-fA-F:.]+`)
	emailLike   = regexp.MustCompile(`[^\s@"]+@[^\s@"]+\.[^\s@"]+`)
	urlLike     = regexp.MustCompile(`[a-z]+://[^\s"]+`)
	tokenLike   = regexp.MustCompile(`[A-Za-z0-9_+=-]{12,}`)
	numbered    = regexp.MustCompile(`^[a-z]+-\d+$`) // "instance-31234567"
	numberLike  = regexp.MustCompile(`\d{3,}`)
	labelLike   = regexp.MustCompile(`\bag\d+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+`)
)

// scrub takes out of a sentence what is none of its words.
func (x *redactor) scrub(s string) string {
	s = x.clean(s)
	s = labelLike.ReplaceAllStringFunc(s, x.label)
	s = urlLike.ReplaceAllString(s, "[url]")
	s = emailLike.ReplaceAllString(s, "[email]")
	s = addressLike.ReplaceAllStringFunc(s, func(m string) string {
		trimmed := strings.TrimRight(m, ":.")
		host, port, joined := strings.Cut(trimmed, ":")
		if _, err := netip.ParseAddr(trimmed); err == nil {
			return x.address(trimmed) + m[len(trimmed):]
		}
		if _, err := netip.ParseAddr(host); err == nil && joined {
			return x.address(host) + ":" + x.name("port", port, "4%04d") + m[len(trimmed):]
		}
		return m
	})
	s = tokenLike.ReplaceAllStringFunc(s, func(m string) string {
		digits, lower := strings.ContainsAny(m, "0123456789"), strings.ToLower(m) == m
		if !digits && (len(m) < 20 || lower) || strings.ToUpper(m) == m && strings.Contains(m, "_") || numbered.MatchString(m) {
			return m // a word, a code, the name of a variable, or what has a number, which is next
		}
		return "[token]"
	})
	return numberLike.ReplaceAllStringFunc(s, func(m string) string {
		if id := x.ids[m]; id != 0 {
			return strconv.FormatInt(id, 10)
		}
		if len(m) < 5 { // a status, a year
			return m
		}
		return "[number]"
	})
}

// address is what stands for an address: one of those that documents may name
// (RFC 5737, RFC 3849). "Any address" is none.
func (x *redactor) address(s string) string {
	ip, err := netip.ParseAddr(s)
	switch {
	case err != nil || ip.IsUnspecified():
		return s
	case ip.Is4():
		return x.name("address", s, "192.0.2.%d")
	}
	return x.name("address", s, "2001:db8::%d")
}

// clean takes the known secrets out, wherever they are.
func (x *redactor) clean(s string) string {
	for _, secret := range x.Secrets {
		if len(secret) < minSecret {
			continue
		}
		s = strings.ReplaceAll(s, secret, "[secret]")
		if quoted, err := json.Marshal(secret); err == nil { // as it stands in JSON
			s = strings.ReplaceAll(s, string(quoted[1:len(quoted)-1]), "[secret]")
		}
	}
	return s
}

func sorted(o map[string]any) []string {
	var names []string
	for name := range o {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
