// Command schema writes the JSON Schema of the documents of kubectl castai.
// Usage: schema ROOT, the path of the checkout.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/castai/kubectl-castai/test/schema"
)

func main() {
	if err := write(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "schema:", err)
		os.Exit(1)
	}
}

func write(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("name the path of the checkout, and nothing else")
	}
	content, err := schema.Generate(args[0])
	if err != nil {
		return err
	}
	path := filepath.Join(args[0], "docs", "schema", "v1alpha1.json")
	return os.WriteFile(path, content, 0o600) //nolint:gosec // the caller's folder
}
