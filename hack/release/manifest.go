package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"text/template"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// Manifest is a plugin in a krew index (krew, pkg/index/types.go).
type Manifest struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Spec struct {
		Version          string     `json:"version"`
		ShortDescription string     `json:"shortDescription"`
		Description      string     `json:"description"`
		Caveats          string     `json:"caveats"`
		Homepage         string     `json:"homepage"`
		Platforms        []Platform `json:"platforms"`
	} `json:"spec"`
}

// Platform is an archive, and the systems that it is for.
type Platform struct {
	URI      string                `json:"uri"`
	SHA256   string                `json:"sha256"`
	Selector *metav1.LabelSelector `json:"selector"`
	Files    []FileMove            `json:"files"`
	Bin      string                `json:"bin"`
}

// FileMove takes files out of an archive. Without any, krew takes all.
type FileMove struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// writeManifest renders the template with the checksums of a folder of archives,
// checks it, and returns the path of what it wrote into that folder.
func writeManifest(templatePath, dist string) (string, error) {
	tag, _, err := tagOf(dist)
	if err != nil {
		return "", err
	}
	sums, err := readChecksums(filepath.Join(dist, "checksums.txt"))
	if err != nil {
		return "", err
	}
	source, err := os.ReadFile(templatePath)
	if err != nil {
		return "", err
	}
	rendered, err := render(string(source), tag, sums)
	if err != nil {
		return "", fmt.Errorf("%s: %w", templatePath, err)
	}
	var m Manifest
	if err := yaml.UnmarshalStrict(rendered, &m); err != nil {
		return "", fmt.Errorf("%s: %w", templatePath, err)
	}
	if err := m.validate(filepath.Base(templatePath)); err != nil {
		return "", fmt.Errorf("%s: krew would refuse it: %w", templatePath, err)
	}
	out := filepath.Join(dist, "krew", filepath.Base(templatePath))
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return "", err
	}
	return out, os.WriteFile(out, rendered, 0o644)
}

// tagOf returns the tag that goreleaser has built, and its commit. The version
// of a snapshot is not that of its tag, and the archives are named after the
// version.
func tagOf(dist string) (tag, commit string, err error) {
	content, err := os.ReadFile(filepath.Join(dist, "metadata.json"))
	if err != nil {
		return "", "", err
	}
	var metadata struct {
		Version string `json:"version"`
		Commit  string `json:"commit"`
	}
	if err := json.Unmarshal(content, &metadata); err != nil {
		return "", "", fmt.Errorf("metadata.json: %w", err)
	}
	return "v" + metadata.Version, metadata.Commit, nil
}

// readChecksums reads a file of sha256sum: sums by the names of files.
func readChecksums(file string) (map[string]string, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	sums := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(content))
	for lines.Scan() {
		sum, name, ok := strings.Cut(lines.Text(), "  ")
		if !ok {
			return nil, fmt.Errorf("%s: %q is not a checksum and a name", file, lines.Text())
		}
		sums[name] = sum
	}
	return sums, lines.Err()
}

// render does what krew-release-bot does with the template, with checksums
// that are known instead of downloads (krew-release-bot, pkg/source/template.go).
func render(source, tag string, sums map[string]string) ([]byte, error) {
	data := map[string]string{"TagName": tag}
	addURIAndSha := func(uri, _ string) (string, error) {
		var full bytes.Buffer
		t, err := template.New("uri").Parse(uri)
		if err != nil {
			return "", err
		}
		if err := t.Execute(&full, data); err != nil {
			return "", err
		}
		sum, ok := sums[path.Base(full.String())]
		if !ok {
			return "", fmt.Errorf("no checksum for %s", full.String())
		}
		return fmt.Sprintf("uri: %s\n    sha256: %s", full.String(), sum), nil
	}
	functions := template.FuncMap{"addURIAndSha": addURIAndSha}
	t, err := template.New("manifest").Funcs(functions).Option("missingkey=error").Parse(source)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = t.Execute(&out, data)
	return out.Bytes(), err
}
