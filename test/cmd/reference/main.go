// Command reference writes the command reference of kubectl castai.
// Usage: reference ROOT, the path of the checkout.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/castai/kubectl-castai/test/reference"
)

func main() {
	if err := write(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "reference:", err)
		os.Exit(1)
	}
}

func write(args []string) error {
	if len(args) != 1 {
		return errors.New("name the path of the checkout, and nothing else")
	}
	files, err := reference.Generate()
	if err != nil {
		return err
	}
	for name, content := range files {
		path := filepath.Join(args[0], "docs", filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil { //nolint:gosec // the caller's folder
			return err
		}
		if err := os.WriteFile(path, content, 0o600); err != nil { //nolint:gosec // the caller's folder
			return err
		}
	}
	return nil
}
