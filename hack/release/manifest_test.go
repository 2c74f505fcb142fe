package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

const manifestTemplate = "../../krew/castai.yaml"

// dist writes what goreleaser leaves of a version into a folder.
func dist(t *testing.T, version string) string {
	t.Helper()
	dir := t.TempDir()
	var sums strings.Builder
	for i, platform := range []string{"linux_amd64.tar.gz", "linux_arm64.tar.gz", "darwin_amd64.tar.gz",
		"darwin_arm64.tar.gz", "windows_amd64.zip", "windows_arm64.zip"} {
		fmt.Fprintf(&sums, "%064x  kubectl-castai_v%s_%s\n", i+10, version, platform)
	}
	for name, content := range map[string]string{"checksums.txt": sums.String(),
		"metadata.json": fmt.Sprintf(`{"version": %q}`, version)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// manifest returns the rendered one of this repository.
func manifest(t *testing.T) *Manifest {
	t.Helper()
	path, err := writeManifest(manifestTemplate, dist(t, "1.2.3"))
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var m Manifest
	if err := yaml.UnmarshalStrict(content, &m); err != nil {
		t.Fatal(err)
	}
	return &m
}

func TestManifest(t *testing.T) {
	m := manifest(t)
	if m.Spec.Version != "v1.2.3" {
		t.Errorf("the version is %s", m.Spec.Version)
	}
	if len(m.Spec.ShortDescription) > 50 || strings.HasSuffix(m.Spec.ShortDescription, ".") {
		t.Errorf("reviewers of the index would object to %q", m.Spec.ShortDescription)
	}
	selected := map[string]string{}
	for _, p := range m.Spec.Platforms {
		pairs, err := p.selects()
		if err != nil || len(pairs) != 1 {
			t.Fatalf("%s selects %v, %v", p.URI, pairs, err)
		}
		system := pairs[0]["os"] + "_" + pairs[0]["arch"]
		selected[system] = p.SHA256
		if !strings.Contains(p.URI, "/releases/download/v1.2.3/kubectl-castai_v1.2.3_"+system+".") {
			t.Errorf("%s has %s", system, p.URI)
		}
		if windows := pairs[0]["os"] == "windows"; windows != strings.HasSuffix(p.Bin, ".exe") ||
			windows != strings.HasSuffix(p.URI, ".zip") {
			t.Errorf("%s has %s from %s", system, p.Bin, p.URI)
		}
	}
	for i, system := range []string{"linux_amd64", "linux_arm64", "darwin_amd64", "darwin_arm64", "windows_amd64",
		"windows_arm64"} {
		if want := fmt.Sprintf("%064x", i+10); selected[system] != want {
			t.Errorf("%s has the checksum %q, not %q", system, selected[system], want)
		}
	}
}

func TestManifestOfOtherArchives(t *testing.T) {
	dir := dist(t, "1.2.3")
	if err := os.WriteFile(filepath.Join(dir, "metadata.json"), []byte(`{"version": "1.2.4"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if path, err := writeManifest(manifestTemplate, dir); err == nil ||
		!strings.Contains(err.Error(), "no checksum for https://") {
		t.Errorf("got %q, %v", path, err)
	}
}

func TestRules(t *testing.T) {
	for rule, tc := range map[string]struct {
		breakIt func(*Manifest)
		want    string
	}{
		"apiVersion":     {func(m *Manifest) { m.APIVersion = "krew/v1" }, "apiVersion"},
		"kind":           {func(m *Manifest) { m.Kind = "plugin" }, "kind"},
		"name":           {func(m *Manifest) { m.Metadata.Name = "cast.ai" }, "can't be that of a plugin"},
		"device":         {func(m *Manifest) { m.Metadata.Name = "COM1" }, "can't be that of a plugin"},
		"file":           {func(m *Manifest) { m.Metadata.Name = "cast" }, "not named after"},
		"two lines":      {func(m *Manifest) { m.Spec.ShortDescription = "a\nb" }, "one line"},
		"no description": {func(m *Manifest) { m.Spec.Description = "" }, "description or homepage"},
		"version":        {func(m *Manifest) { m.Spec.Version = "1.2.3" }, "start with v"},
		"not semantic":   {func(m *Manifest) { m.Spec.Version = "v1.2" }, "semantic"},
		"no platforms":   {func(m *Manifest) { m.Spec.Platforms = nil }, "no platforms"},
		"no uri":         {func(m *Manifest) { m.Spec.Platforms[0].URI = "" }, "uri or bin"},
		"outside":        {func(m *Manifest) { m.Spec.Platforms[0].Bin = "../kubectl" }, "outside"},
		"upper-case sum": {func(m *Manifest) { m.Spec.Platforms[0].SHA256 = strings.Repeat("A", 64) }, "lower-case"},
		"empty files":    {func(m *Manifest) { m.Spec.Platforms[0].Files = []FileMove{} }, "there and empty"},
		"half a file":    {func(m *Manifest) { m.Spec.Platforms[0].Files = []FileMove{{From: "*"}} }, "without from or to"},
		"no licence": {func(m *Manifest) { m.Spec.Platforms[0].Files = []FileMove{{From: "kubectl-castai", To: "."}} },
			"no licence"},
		"no selector": {func(m *Manifest) { m.Spec.Platforms[0].Selector = nil }, "no selector"},
		"unknown key": {func(m *Manifest) { m.Spec.Platforms[0].Selector.MatchLabels["libc"] = "musl" }, `key "libc"`},
		"unknown platform": {func(m *Manifest) { m.Spec.Platforms[0].Selector.MatchLabels["os"] = "plan9" },
			"no platform that krew supports"},
		"overlap": {func(m *Manifest) {
			m.Spec.Platforms[0].Selector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "os",
				Operator: metav1.LabelSelectorOpIn, Values: []string{"linux"}}}}
		}, "both select linux/arm64"},
	} {
		t.Run(rule, func(t *testing.T) {
			m := manifest(t)
			tc.breakIt(m)
			if err := m.validate("castai.yaml"); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
	m := manifest(t)
	m.Spec.Platforms[0].Files = []FileMove{{From: "kubectl-castai", To: "."}, {From: "LICENSE", To: "."}}
	if err := m.validate("castai.yaml"); err != nil {
		t.Errorf("a manifest that takes both files is refused: %v", err)
	}
}
