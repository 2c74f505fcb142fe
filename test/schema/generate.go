package schema

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/invopop/jsonschema"

	"github.com/castai/kubectl-castai/pkg/printer"
)

const module = "github.com/castai/kubectl-castai"

// documents returns one of each kind.
func documents() []any {
	return []any{printer.Inventory{}, printer.Plan{}, printer.Report{}, printer.Explanation{}, printer.Restore{}, printer.Diagnosis{}}
}

// Generate returns the schema of all documents, with the Go comments of the
// types as descriptions. root is the path of the checkout.
func Generate(root string) ([]byte, error) {
	r := &jsonschema.Reflector{Anonymous: true, Namer: name}
	if err := r.AddGoComments("", filepath.Join(root, "pkg"), jsonschema.WithFullComment()); err != nil {
		return nil, fmt.Errorf("read the comments: %w", err)
	}
	comments := map[string]string{}
	for key, text := range r.CommentMap {
		comments[strings.Replace(key, path.Clean(filepath.ToSlash(root)), module, 1)] = strings.Join(strings.Fields(text), " ")
	}
	r.CommentMap = comments

	all := &jsonschema.Schema{
		Version:     jsonschema.Version,
		ID:          "urn:" + jsonschema.ID(strings.ReplaceAll(printer.APIVersion, "/", ":")),
		Title:       "Documents of kubectl castai, " + printer.APIVersion,
		Definitions: jsonschema.Definitions{},
	}
	for _, doc := range documents() {
		one := r.Reflect(doc)
		kind := reflect.TypeOf(doc).Name()
		property, ok := one.Definitions[kind].Properties.Get("kind")
		if !ok {
			return nil, fmt.Errorf("%s has no kind", kind)
		}
		property.Const = kind
		maps.Copy(all.Definitions, one.Definitions)
		all.OneOf = append(all.OneOf, &jsonschema.Schema{Ref: one.Ref})
	}
	out, err := json.MarshalIndent(all, "", "  ")
	return append(out, '\n'), err
}

// name tells the parts of documents apart from the documents.
func name(t reflect.Type) string {
	for _, doc := range documents() {
		if d := reflect.TypeOf(doc); d != t && d.Name() == t.Name() {
			return "The" + t.Name()
		}
	}
	return "" // the name of the type
}
