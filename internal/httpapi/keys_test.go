package httpapi

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/api-gpu/api-gpu"
)

func TestParseKeys(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, in string
		callers  string // name, with * for the admin
		wrong    string
	}{
		{"nothing: open", "", "", ""},
		{"only commas: open", " , ,", "", ""},
		{"one bare key is the admin's", "s3cret", "admin*", ""},
		{"one named key is the admin's too", "bob:b0b", "bob*", ""},
		{"two named keys: only admin steers", "admin:a, bob:b", "admin* bob", ""},
		{"two named keys and no admin", "bob:b,eve:e", "bob eve", ""},
		{"a bare key among named ones is named admin", "a,bob:b", "admin* bob", ""},
		{"the key itself may hold a colon", "bob:b:c", "bob*", ""},
		{"two bare keys", "a,b", "", "two keys are named"},
		{"one name twice", "bob:a,bob:b", "", "two keys are named"},
		{"one key under two names", "admin:a,bob: a", "", "the same as another"},
		{"an empty key", "bob:", "", "is empty"},
		{"a key of spaces", "bob: ", "", "is empty"},
		{"an empty name", ":a", "", "its name"},
		{"a name with a space", "b ob:a", "", "its name"},
		{"a key with a line break", "bob:b\nb", "", "line break"},
		{"a key with an accent", "chave-é", "", "accent"},
		{"a name too long", strings.Repeat("n", 65) + ":a", "", "its name"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			keys, err := ParseKeys(c.in)
			if c.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), c.wrong) {
					t.Fatalf("error %v, want %q", err, c.wrong)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, k := range keys.keys {
				name := k.caller.Name
				if k.caller.Admin {
					name += "*"
				}
				got = append(got, name)
			}
			if s := strings.Join(got, " "); s != c.callers || keys.Open() != (c.callers == "") {
				t.Errorf("callers %q, want %q; open %v", s, c.callers, keys.Open())
			}
		})
	}
}

// Half of a key that holds a colon is not told: it would stand in the log.
func TestParseKeysTellsNoKey(t *testing.T) {
	t.Parallel()
	if _, err := ParseKeys("shop:a,s3cr$t:rest"); err == nil || strings.Contains(err.Error(), "s3cr") || !strings.Contains(err.Error(), "key 2 of the list") {
		t.Errorf("%v", err)
	}
}

func TestWeakKeys(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("k", shortKey)
	for in, want := range map[string]string{
		"":                               "",
		long:                             "",
		long[1:]:                         `"admin" is shorter`,
		"shop:" + long:                   "",
		"shop:" + long + ",n8n:n" + long: "no key is named admin",
		"admin:" + long + ",n8n:short":   `"n8n" is shorter`,
	} {
		keys, err := ParseKeys(in)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(keys.Weak(), "; ")
		if want == "" && got != "" || !strings.Contains(got, want) || strings.Contains(got, long) {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestCaller(t *testing.T) {
	t.Parallel()
	keys, err := ParseKeys("admin: r00t ,bob:b0b")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, header, value, want string }{
		{"X-API-Key", "X-API-Key", "b0b", "bob"},
		{"blanks around the key in the configuration", "X-API-Key", "r00t", "admin"},
		{"bearer", "Authorization", "Bearer b0b", "bob"},
		{"bearer in small letters, two blanks", "Authorization", "bearer  r00t", "admin"},
		{"basic", "Authorization", "Basic b0b", ""},
		{"a wrong key", "X-API-Key", "b0", ""},
		{"a prefix more", "X-API-Key", "b0bb", ""},
		{"the name is no key", "X-API-Key", "bob", ""},
		{"nothing", "X-Other", "b0b", ""},
		{"an empty key", "X-API-Key", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest("GET", "/", nil)
			r.Header.Set(c.header, c.value)
			who, err := keys.Caller(r)
			if who.Name != c.want || (err == nil) != (c.want != "") || who.Admin != (c.want == "admin") {
				t.Fatalf("caller %+v, error %v", who, err)
			}
			if err != nil && apigpu.CodeOf(err) != apigpu.Unauthorized {
				t.Errorf("code %s", apigpu.CodeOf(err))
			}
		})
	}
}

func TestOpenServerTakesEveryoneAsAdmin(t *testing.T) {
	t.Parallel()
	if who, err := (Keys{}).Caller(httptest.NewRequest("GET", "/", nil)); err != nil || !who.Admin || who.Name == "" {
		t.Errorf("caller %+v, error %v", who, err)
	}
}

func TestRequire(t *testing.T) {
	t.Parallel()
	keys, err := ParseKeys("admin:r00t,bob:b0b")
	if err != nil {
		t.Fatal(err)
	}
	seen := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Seen", CallerOf(r.Context()).Name) })
	for _, c := range []struct {
		name, key string
		handler   http.Handler
		status    int
		seen      string
	}{
		{"known", "b0b", keys.Require(seen), 200, "bob"},
		{"unknown", "x", keys.Require(seen), 401, ""},
		{"admin's door, admin", "r00t", keys.RequireAdmin(seen), 200, "admin"},
		{"admin's door, bob", "b0b", keys.RequireAdmin(seen), 403, ""},
		{"admin's door, nobody", "", keys.RequireAdmin(seen), 401, ""},
	} {
		rec := httptest.NewRecorder()
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("X-API-Key", c.key)
		c.handler.ServeHTTP(rec, r)
		if rec.Code != c.status || rec.Header().Get("Seen") != c.seen {
			t.Errorf("%s: status %d, seen %q", c.name, rec.Code, rec.Header().Get("Seen"))
		}
		if (rec.Header().Get("WWW-Authenticate") != "") != (c.status == 401) {
			t.Errorf("%s: WWW-Authenticate %q", c.name, rec.Header().Get("WWW-Authenticate"))
		}
	}
}

func TestMayUse(t *testing.T) {
	t.Parallel()
	if who := CallerOf(context.Background()); who.MayUse("bob") || who.MayUse("") {
		t.Error("nobody may see nothing")
	}
	if bob := (Caller{Name: "bob"}); !bob.MayUse("bob") || bob.MayUse("eve") {
		t.Error("bob may see bob's jobs and no others")
	}
	if !(Caller{Name: "admin", Admin: true}).MayUse("bob") {
		t.Error("the admin may see all")
	}
}

// Every path that shows or changes a job asks for a key, and hides other
// people's jobs as if they were not there.
func TestJobsAreVisibleToTheirKeyOnly(t *testing.T) {
	t.Parallel()
	keys, err := ParseKeys("admin:root,bob:b0b,eve:e7e")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(c *Config) { c.Guard = keys.Require })
	id := w.submit(t)
	w.jobs.finish(id, "movie")
	for _, c := range []struct{ method, path string }{
		{"GET", "/jobs/" + id}, {"GET", "/jobs/" + id + "/events"}, {"GET", "/jobs/" + id + "/video"}, {"GET", "/jobs/" + id + "/thumbnail.jpg"},
		{"POST", "/jobs/" + id + "/cancel"}, {"DELETE", "/jobs/" + id}, {"POST", "/jobs/" + id + "?follow=true"},
	} {
		problem(t, w.do(c.method, c.path, "", "X-API-Key: e7e"), apigpu.JobNotFound)
		problem(t, w.do(c.method, c.path, "", "X-API-Key: wrong"), apigpu.Unauthorized)
		problem(t, w.do(c.method, c.path, "", "X-API-Key: "), apigpu.Unauthorized)
	}
	problem(t, w.do("GET", "/jobs", "", "X-API-Key: wrong"), apigpu.Unauthorized)
	problem(t, w.do("POST", "/video/caption", goodBody, "X-API-Key: wrong"), apigpu.Unauthorized)
	if page := decode[apigpu.JobPage](t, w.do("GET", "/jobs", "", "X-API-Key: e7e"), 200); len(page.Data) != 0 {
		t.Errorf("eve sees %d jobs", len(page.Data))
	}
	decode[apigpu.Job](t, w.do("GET", "/jobs/"+id, "", "X-API-Key: root"), 200)
}
