//go:build dist

package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/castai/kubectl-castai/test/controlplane"
)

// These tests are about what make dist has left in this folder.
const built = "../../dist"

func released(t *testing.T) *Manifest {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(built, "krew", "castai.yaml"))
	if err != nil {
		t.Fatalf("run make dist first: %v", err)
	}
	var m Manifest
	if err := yaml.UnmarshalStrict(content, &m); err != nil {
		t.Fatal(err)
	}
	if err := m.validate("castai.yaml"); err != nil {
		t.Fatal(err)
	}
	return &m
}

// file is one in an archive.
type file struct {
	mode    fs.FileMode
	content []byte
}

// unpack takes an archive apart, and refuses what krew refuses (krew,
// internal/download/downloader.go): it is known by its content, and holds
// nothing but folders and regular files inside of where it is put.
func unpack(t *testing.T, archive []byte) map[string]file {
	t.Helper()
	if bytes.HasPrefix(archive, []byte("PK\x03\x04")) {
		return unzip(t, archive)
	}
	stream, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]file{}
	for r := tar.NewReader(stream); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		inside(t, h.Name)
		switch h.Typeflag {
		case tar.TypeDir:
		case tar.TypeReg:
			content, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			files[h.Name] = file{h.FileInfo().Mode(), content}
		default:
			t.Errorf("%s is of the type %q", h.Name, h.Typeflag)
		}
	}
}

func unzip(t *testing.T, archive []byte) map[string]file {
	t.Helper()
	r, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]file{}
	for _, f := range r.File {
		inside(t, f.Name)
		if f.FileInfo().IsDir() {
			continue
		}
		content, err := fs.ReadFile(r, f.Name)
		if err != nil {
			t.Fatal(err)
		}
		files[f.Name] = file{f.Mode(), content}
	}
	return files
}

func inside(t *testing.T, name string) {
	t.Helper()
	if strings.Contains(name, "..") || path.IsAbs(name) {
		t.Fatalf("krew refuses the path %s", name)
	}
}

// install puts a platform where krew would below root, and returns the folder
// that krew has on PATH.
func install(t *testing.T, root string, m *Manifest, p Platform) string {
	t.Helper()
	archive, err := os.ReadFile(filepath.Join(built, path.Base(p.URI)))
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(archive); hex.EncodeToString(sum[:]) != p.SHA256 {
		t.Fatalf("%s does not have the checksum %s", p.URI, p.SHA256)
	}
	store := filepath.Join(root, "store", m.Metadata.Name, m.Spec.Version)
	bin := filepath.Join(root, "bin")
	for _, dir := range []string{store, bin} {
		if err := os.MkdirAll(dir, 0o750); err != nil {
			t.Fatal(err)
		}
	}
	moves := p.Files
	if moves == nil {
		moves = []FileMove{{From: "*", To: "."}} // krew, internal/installation/install.go, applyDefaults
	}
	for name, f := range unpack(t, archive) {
		for _, move := range moves {
			if ok, err := path.Match(move.From, name); err != nil || !ok {
				continue
			}
			if err := os.WriteFile(filepath.Join(store, filepath.FromSlash(move.To), path.Base(name)), f.content,
				f.mode); err != nil {
				t.Fatal(err)
			}
		}
	}
	link := "kubectl-" + strings.ReplaceAll(m.Metadata.Name, "-", "_")
	if strings.HasSuffix(p.Bin, ".exe") {
		link += ".exe"
	}
	if err := os.Symlink(filepath.Join(store, filepath.FromSlash(p.Bin)), filepath.Join(bin, link)); err != nil {
		t.Fatal(err)
	}
	return bin
}

func TestArchives(t *testing.T) {
	m := released(t)
	for _, p := range m.Spec.Platforms {
		t.Run(path.Base(p.URI), func(t *testing.T) {
			pairs, err := p.selects()
			if err != nil {
				t.Fatal(err)
			}
			bin := install(t, t.TempDir(), m, p)
			links, err := filepath.Glob(filepath.Join(bin, "*"))
			if err != nil || len(links) != 1 {
				t.Fatalf("krew links %v, %v", links, err)
			}
			binary, err := filepath.EvalSymlinks(links[0])
			if err != nil {
				t.Fatal(err)
			}
			check(t, binary, pairs[0]["os"], pairs[0]["arch"])
		})
	}
}

// check looks at an installed binary and at what is beside it.
func check(t *testing.T, binary, system, arch string) {
	t.Helper()
	info, err := os.Stat(binary)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o755 {
		t.Errorf("the binary has the mode %s", info.Mode())
	}
	if info.Size() > mostBytes {
		t.Errorf("the binary has %d bytes", info.Size())
	}
	built, err := buildinfo.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	settings := map[string]string{}
	for _, s := range built.Settings {
		settings[s.Key] = s.Value
	}
	for key, want := range map[string]string{"GOOS": system, "GOARCH": arch, "CGO_ENABLED": "0", "-trimpath": "true"} {
		if settings[key] != want {
			t.Errorf("it is built with %s=%s, not %s", key, settings[key], want)
		}
	}
	beside, err := os.ReadDir(filepath.Dir(binary))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(beside, func(e fs.DirEntry) bool {
		return slices.Contains(licences,
			strings.ToLower(e.Name()))
	}) {
		t.Errorf("no licence is among %v", beside)
	}
	sboms, err := filepath.Glob(filepath.Join("../../dist", fmt.Sprintf("*_%s_%s.cdx.json", system, arch)))
	if err != nil || len(sboms) != 1 {
		t.Fatalf("the bills of materials are %v, %v", sboms, err)
	}
	bom, err := os.ReadFile(sboms[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, module := range built.Deps {
		if !bytes.Contains(bom, fmt.Appendf(nil, "pkg:golang/%s@", module.Path)) {
			t.Errorf("%s is not in the bill of materials", module.Path)
		}
	}
}

// The plugin is found and run by kubectl where krew puts it.
func TestInstalled(t *testing.T) {
	m := released(t)
	bin, err := controlplane.Binaries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(m.Spec.Platforms, func(p Platform) bool {
		pairs, err := p.selects()
		return err == nil && pairs[0]["os"] == runtime.GOOS && pairs[0]["arch"] == runtime.GOARCH
	})
	if i < 0 {
		t.Fatalf("there is no archive for %s/%s", runtime.GOOS, runtime.GOARCH)
	}
	commit, err := exec.CommandContext(t.Context(), "git", "rev-parse", "HEAD").Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := install(t, filepath.Join(t.TempDir(), "krew"), m, m.Spec.Platforms[i])
	for _, tc := range []struct{ args, want string }{
		{"castai version", "kubectl castai " + m.Spec.Version + " (commit " + strings.TrimSpace(string(commit)) +
			", built 20"},
		{"castai --help", "  kubectl castai status\n"},
		{"plugin list", filepath.Join(dir, "kubectl-castai") + "\n"},
	} {
		cmd := exec.CommandContext(t.Context(), bin.Kubectl, strings.Fields(tc.args)...)
		cmd.Env = []string{"PATH=" + dir, "HOME=" + t.TempDir()}
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), tc.want) || strings.Contains(string(out), "warning") {
			t.Errorf("kubectl %s: %v: %s", tc.args, err, out)
		}
	}
}
