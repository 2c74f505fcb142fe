// Package schema holds the JSON Schema of the documents that -o json and -o yaml
// print. It is generated from the Go types by make generate.
package schema

import _ "embed"

// V1alpha1 describes the documents of apiVersion castai.kubectl.dev/v1alpha1.
//
//go:embed v1alpha1.json
var V1alpha1 []byte
