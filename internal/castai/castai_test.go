package castai

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWithEnabled(t *testing.T) {
	for _, test := range []struct {
		name, in, want string
		enabled        bool
	}{
		{"off", `{"enabled":true}`, `{"enabled":false}`, false},
		{"on", `{"enabled": false }`, `{"enabled": true }`, true},
		{"the rest stays as it is", "{\n \"a\": 1.50e2, \"enabled\" : true,\"b\":{\"enabled\":true}, \"c\":\"\\u003c\"}",
			"{\n \"a\": 1.50e2, \"enabled\" : false,\"b\":{\"enabled\":true}, \"c\":\"\\u003c\"}", false},
		{"null", `{"enabled":null,"a":[{"enabled":true}]}`, `{"enabled":false,"a":[{"enabled":true}]}`, false},
		{"absent", `{ "a": 1}`, `{"enabled":false, "a": 1}`, false},
		{"another field of almost that name", `{"Enabled":true}`, `{"enabled":false,"Enabled":true}`, false},
		{"empty", `{}`, `{"enabled":false}`, false},
		{"twice", `{"enabled":true,"a":1,"enabled":true}`, `{"enabled":false,"a":1,"enabled":false}`, false},
		{"with spaces around", "\n {\"enabled\":true}\n", "\n {\"enabled\":false}\n", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := WithEnabled(Policies(test.in), test.enabled)
			if err != nil || string(got) != test.want {
				t.Errorf("got %s, want %s, %v", got, test.want, err)
			}
			if enabled, known, err := Enabled(got); enabled != test.enabled || !known || err != nil {
				t.Errorf("enabled %v, known %v, %v", enabled, known, err)
			}
		})
	}
	for _, in := range []string{"", "null", "[]", "true", `{"enabled":tru`, `{"enabled":true`, `{"a"}`, `{"a":1} x`} {
		if got, err := WithEnabled(Policies(in), false); err == nil {
			t.Errorf("%q became %q", in, got)
		}
	}
}

func FuzzWithEnabled(f *testing.F) {
	f.Add(`{"a":1,"enabled":true}`)
	f.Add(`{"enabled":{},"\u0065nabled":1}`)
	f.Fuzz(func(t *testing.T, in string) {
		got, err := WithEnabled(Policies(in), false)
		if err != nil {
			return
		}
		if enabled, known, err := Enabled(got); enabled || !known || err != nil {
			t.Errorf("%q became %q: enabled %v, known %v, %v", in, got, enabled, known, err)
		}
	})
}

func TestParseURL(t *testing.T) {
	for in, want := range map[string]string{
		"https://api.cast.ai":         "https://api.cast.ai",
		"https://api.eu.cast.ai/":     "https://api.eu.cast.ai",
		"https://proxy.corp:8443/ca/": "https://proxy.corp:8443/ca",
		"http://127.0.0.1:8080":       "http://127.0.0.1:8080",
		"http://[::1]:80":             "http://[::1]:80",
		"http://localhost":            "http://localhost",
		"http://api.cast.ai":          "",
		"http://localhost.evil.com":   "",
		"http://127.0.0.1.evil.com":   "",
		"api.cast.ai":                 "",
		"ftp://api.cast.ai":           "",
		"https://user:pw@api.cast.ai": "",
		"https://api.cast.ai?x=1":     "",
		"https://":                    "",
		"":                            "",
		"https://a b":                 "",
	} {
		if got, err := ParseURL(in); got != want || (err == nil) != (want != "") {
			t.Errorf("%s: got %q, want %q, %v", in, got, want, err)
		}
	}
}

func TestRegionURL(t *testing.T) {
	for in, want := range map[string]string{
		"":                             DefaultURL,
		"https://api.eu.cast.ai/":      "https://api.eu.cast.ai",
		"https://api.in.cast.ai/":      "https://api.in.cast.ai",
		"api.cast.ai":                  "https://api.cast.ai",
		"https://api.cast.ai.evil.com": "",
		"https://evil.com/api.cast.ai": "",
		"https://evilcast.ai":          "",
		"http://api.cast.ai":           "",
		"http://127.0.0.1:9":           "",
		"https://x@api.cast.ai":        "",
		"https://api.c\u0430st.ai":     "", // a Cyrillic letter
		"https://api.\u0435u.cast.ai":  "",
		"https://api.eu\u200b.cast.ai": "",
		"https://api.eu.cast.ai\x00":   "",
	} {
		if got, err := RegionURL(in); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, want %q, %v", in, got, want, err)
		}
	}
}

func TestRegionURLWithSpacesAround(t *testing.T) {
	if got, err := RegionURL(" https://api.eu.cast.ai\n"); got != "https://api.eu.cast.ai" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestFindKey(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(" from-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := func(vars map[string]string) func(string) (string, bool) {
		return func(name string) (string, bool) { v, ok := vars[name]; return v, ok }
	}
	for _, test := range []struct {
		name, file, stdin string
		vars              map[string]string
		want              string
	}{
		{"file", file, "", map[string]string{EnvKey: "from-env"}, "from-file"},
		{"standard input", "-", "from-stdin\r\n", map[string]string{EnvKey: "from-env"}, "from-stdin"},
		{"environment", "", "", map[string]string{EnvKey: "from-env", EnvToken: "old"}, "from-env"},
		{"old variable", "", "", map[string]string{EnvKey: " ", EnvToken: "old"}, "old"},
		{"none", "", "", nil, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			k, err := FindKey(test.file, strings.NewReader(test.stdin), env(test.vars))
			if err != nil || k.secret != test.want || k.IsZero() != (test.want == "") {
				t.Errorf("got %q, want %q, %v", k.secret, test.want, err)
			}
		})
	}
	for name, in := range map[string]io.Reader{
		"empty": strings.NewReader("\n"), "two lines": strings.NewReader("s3cret\ns3cret2"),
		"a header": strings.NewReader("s3cret\r\nX-Evil: 1"),
		"large":    strings.NewReader(strings.Repeat("s3cret", 2000)), "broken": broken{},
	} {
		if k, err := FindKey("-", in, nil); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: key %q, %v", name, k.secret, err)
		}
	}
	if _, err := FindKey(file+"-missing", nil, nil); err == nil {
		t.Error("a file that is not there is read")
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("broken") }
