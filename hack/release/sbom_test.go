package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/CycloneDX/cyclonedx-go"
)

// The binary of this test is one whose modules are known.
func TestSBOM(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var documents [2][]byte
	for i := range documents {
		path := filepath.Join(t.TempDir(), "sbom.json")
		if err := writeSBOM("v1.2.3", self, path); err != nil {
			t.Fatal(err)
		}
		if documents[i], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(documents[0], documents[1]) {
		t.Error("one binary gives two documents")
	}
	var bom cyclonedx.BOM
	if err := cyclonedx.NewBOMDecoder(bytes.NewReader(documents[0]),
		cyclonedx.BOMFileFormatJSON).Decode(&bom); err != nil {
		t.Fatal(err)
	}
	if main := bom.Metadata.Component; main.Version != "v1.2.3" ||
		!strings.HasPrefix(main.PackageURL, "pkg:golang/github.com/castai/kubectl-castai/hack/release@v1.2.3?") {
		t.Errorf("it is of %+v", main)
	}
	found := map[string]cyclonedx.Component{}
	for _, c := range *bom.Components {
		found[c.Name] = c
	}
	if _, ok := found["std"]; !ok {
		t.Error("Go's own library is not in it")
	}
	if c := found["k8s.io/apimachinery"]; c.Version != "v0.36.3" || c.Hashes == nil || len((*c.Hashes)[0].Value) != 64 {
		t.Errorf("k8s.io/apimachinery is %+v", c)
	}
	if n := len(*(*bom.Dependencies)[0].Dependencies); n != len(*bom.Components) {
		t.Errorf("it needs %d of %d components", n, len(*bom.Components))
	}
}

func TestSBOMOfNoBinary(t *testing.T) {
	if err := writeSBOM("v1", "sbom_test.go", filepath.Join(t.TempDir(), "x")); err == nil {
		t.Error("a text file has a bill of materials")
	}
}
