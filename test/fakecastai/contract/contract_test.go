package contract

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

const root = "../../.."

// The client and the server are those that the specification makes.
func TestGeneratedCodeIsUpToDate(t *testing.T) {
	for config, output := range map[string]string{
		"internal/castai/oapi-codegen.yaml":          "internal/castai/api.gen.go",
		"test/fakecastai/contract/oapi-codegen.yaml": "test/fakecastai/contract/server.gen.go",
	} {
		made := filepath.Join(t.TempDir(), "made.go")
		cmd := exec.CommandContext(t.Context(), "go", "tool", "-modfile=hack/tools/oapi-codegen/go.mod", "oapi-codegen",
			"-config", config, "-o", made, "internal/castai/openapi.yaml")
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		want, err := os.ReadFile(made)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(root, output))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is out of date: run make generate", output)
		}
	}
}
