// Package schema checks the documents of kubectl castai against their published
// JSON Schema, and generates it.
package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"

	published "github.com/castai/kubectl-castai/docs/schema"
)

// Validate reports how a JSON document differs from the schema of its kind.
func Validate(doc []byte) error {
	var meta struct{ Kind string }
	if err := json.Unmarshal(doc, &meta); err != nil {
		return fmt.Errorf("the document is not JSON: %w", err)
	}
	if !slices.Contains(Kinds(), meta.Kind) {
		return fmt.Errorf("the schema describes no kind %q", meta.Kind)
	}
	compiler, err := compiled()
	if err != nil {
		return err
	}
	// By kind, because of oneOf a validator can only say that none fits.
	definition, err := compiler.Compile("v1alpha1.json#/$defs/" + meta.Kind)
	if err != nil {
		return fmt.Errorf("compile the schema: %w", err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(doc))
	if err != nil {
		return err
	}
	return definition.Validate(value)
}

var compiled = sync.OnceValues(func() (*jsonschema.Compiler, error) {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(published.V1alpha1))
	if err != nil {
		return nil, fmt.Errorf("read the schema: %w", err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	return compiler, compiler.AddResource("v1alpha1.json", value)
})
