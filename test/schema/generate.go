package schema

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/invopop/jsonschema"

	"github.com/castai/kubectl-castai/internal/backup"
	"github.com/castai/kubectl-castai/internal/printer"
)

const module = "github.com/castai/kubectl-castai"

// documents are the types of the documents, by kind: what commands print, and the
// index of a backup.
func documents() map[string]reflect.Type {
	return map[string]reflect.Type{
		"Inventory": reflect.TypeFor[printer.Inventory](), "Plan": reflect.TypeFor[printer.Plan](),
		"Report":      reflect.TypeFor[printer.Report](),
		"Explanation": reflect.TypeFor[printer.Explanation](), "Restore": reflect.TypeFor[printer.Restore](),
		"Summary":     reflect.TypeFor[printer.Summary](),
		"WhyNot":      reflect.TypeFor[printer.WhyNot](),
		"Backups":     reflect.TypeFor[printer.Backups](),
		"Hibernation": reflect.TypeFor[printer.Hibernation](),
		"Diagnosis":   reflect.TypeFor[printer.Diagnosis](), backup.Kind: reflect.TypeFor[backup.Index](),
	}
}

// Kinds returns the kinds of documents that the schema describes.
func Kinds() []string { return slices.Sorted(maps.Keys(documents())) }

// Generate returns the schema of all documents, with the Go comments of the
// types as descriptions. root is the path of the checkout.
func Generate(root string) ([]byte, error) {
	r := &jsonschema.Reflector{Anonymous: true, Namer: name}
	for _, folder := range []string{"pkg", "internal"} {
		if err := r.AddGoComments("", filepath.Join(root, folder), jsonschema.WithFullComment()); err != nil {
			return nil, fmt.Errorf("read the comments: %w", err)
		}
	}
	comments := map[string]string{}
	for key, text := range r.CommentMap {
		comments[strings.Replace(key, path.Clean(filepath.ToSlash(root)), module, 1)] = strings.Join(strings.Fields(text),
			" ")
	}
	r.CommentMap = comments

	all := &jsonschema.Schema{
		Version:     jsonschema.Version,
		ID:          "urn:" + jsonschema.ID(strings.ReplaceAll(printer.APIVersion, "/", ":")),
		Title:       "Documents of kubectl castai, " + printer.APIVersion,
		Definitions: jsonschema.Definitions{},
	}
	for _, kind := range Kinds() {
		one := r.ReflectFromType(documents()[kind])
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
	for kind, doc := range documents() {
		switch {
		case doc == t:
			return kind
		case kind == t.Name():
			return "The" + t.Name()
		}
	}
	return "" // the name of the type
}
