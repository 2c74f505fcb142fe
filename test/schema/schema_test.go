package schema

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	published "github.com/castai/kubectl-castai/docs/schema"
	"github.com/castai/kubectl-castai/internal/printer"
)

func TestPublishedSchemaIsUpToDate(t *testing.T) {
	want, err := Generate("../..")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, published.V1alpha1) {
		t.Error("docs/schema/v1alpha1.json is out of date: run make generate")
	}
}

func TestEveryDocumentIsDescribed(t *testing.T) {
	var schema struct {
		Defs map[string]any `json:"$defs"`
	}
	if err := json.Unmarshal(published.V1alpha1, &schema); err != nil {
		t.Fatal(err)
	}
	for _, kind := range Kinds() {
		if schema.Defs[kind] == nil {
			t.Errorf("%s is not described", kind)
		}
	}
	files, err := filepath.Glob("../../internal/printer/*.go")
	if err != nil {
		t.Fatal(err)
	}
	printed := 0
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range regexp.MustCompile(`TypeMeta\{APIVersion, "(\w+)"\}`).FindAllSubmatch(source, -1) {
			printed++
			if !slices.Contains(Kinds(), string(match[1])) {
				t.Errorf("%s prints %s, which is not described", file, match[1])
			}
		}
	}
	// All but the index of a backup are printed.
	if printed < len(Kinds())-1 {
		t.Errorf("internal/printer makes %d documents, and the schema describes %d kinds", printed, len(Kinds()))
	}
}

func TestValidate(t *testing.T) {
	meta := printer.Metadata{Cluster: "c", Server: "https://server", Time: time.Now().UTC()}
	report := printer.Report{TypeMeta: printer.TypeMeta{APIVersion: printer.APIVersion, Kind: "Report"}, Metadata: meta,
		Left: []printer.Object{}}
	report.Outcomes, report.Phases = slices.Grow(report.Outcomes, 1), slices.Grow(report.Phases, 1)
	good, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		doc  []byte
		ok   bool
	}{
		{"a report", good, true},
		{"a field that nobody knows", bytes.Replace(good, []byte(`"left"`), []byte(`"more":1,"left"`), 1), false},
		{"a field is missing", bytes.Replace(good, []byte(`,"left":[]`), nil, 1), false},
		{"null in the place of a list", bytes.Replace(good, []byte(`"left":[]`), []byte(`"left":null`), 1), false},
		{"another version", bytes.Replace(good, []byte("v1alpha1"), []byte("v9"), 1), false},
		{"another kind", bytes.Replace(good, []byte(`"kind":"Report"`), []byte(`"kind":"Plan"`), 1), false},
		{"an unknown kind", bytes.Replace(good, []byte(`"kind":"Report"`), []byte(`"kind":"Opinion"`), 1), false},
		{"no JSON", []byte("hello"), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := Validate(test.doc); (err == nil) != test.ok {
				t.Errorf("%v for %s", err, test.doc)
			}
		})
	}
}
