package finalize

import (
	"reflect"
	"testing"
)

func TestParseMessage(t *testing.T) {
	for _, tc := range []struct {
		name, message string
		want          Hints
	}{
		{"nothing", "All content successfully removed", Hints{}},
		{"resources",
			"Some resources are remaining: pods. has 1 resource instances, widgets.example.com has 20 resource instances",
			Hints{Resources: map[string]int{"pods": 1, "widgets.example.com": 20}}},
		{"finalizers",
			"Some content in the namespace has finalizers remaining: example.com/hold in 3 resource instances, orphan in 1 resource instances",
			Hints{Finalizers: map[string]int{"example.com/hold": 3, "orphan": 1}}},
		{"discovery",
			"Discovery failed for some groups, 2 failing: unable to retrieve the complete list of server APIs: a.example.com/v1: stale GroupVersion discovery: a.example.com/v1, b.example.com/v1beta1: the server is currently unable to handle the request, try again",
			Hints{Groups: map[string]string{
				"a.example.com/v1":      "stale GroupVersion discovery: a.example.com/v1",
				"b.example.com/v1beta1": "the server is currently unable to handle the request, try again",
			}}},
		{"cut off", "Some resources are remaining: widgets.example.com has", Hints{}},
		{"more than an int", "Some resources are remaining: a.b has 99999999999999999999 resource instances", Hints{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := ParseMessage(tc.message); !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
		})
	}
}

func FuzzParseMessage(f *testing.F) {
	f.Add("Some resources are remaining: pods. has 1 resource instances, widgets.example.com has 20 resource instances")
	f.Add("Some content in the namespace has finalizers remaining: example.com/hold in 3 resource instances")
	f.Add("Discovery failed for some groups, 1 failing: unable to retrieve the complete list of server APIs: a.example.com/v1: gone")
	f.Fuzz(func(t *testing.T, message string) {
		h := ParseMessage(message)
		for name, n := range h.Resources {
			if name == "" || n < 0 {
				t.Errorf("%q: %d of %q", message, n, name)
			}
		}
		for name, n := range h.Finalizers {
			if name == "" || n < 0 {
				t.Errorf("%q: %d of %q", message, n, name)
			}
		}
		for gv := range h.Groups {
			if gv == "" {
				t.Errorf("%q: a group without a name", message)
			}
		}
	})
}
