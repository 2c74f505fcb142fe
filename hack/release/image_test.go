package main

import (
	"archive/tar"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

const licence = "../../LICENSE"

// binaryTime is the age of the binaries of these tests.
var binaryTime = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// distOf writes what goreleaser leaves of builds for some systems.
func distOf(t *testing.T, systems ...[2]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "dist")
	artifacts := []map[string]string{{"type": "Archive", "path": "dist/x.tar.gz"}}
	write := func(name, content string) {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o750), os.WriteFile(path, []byte(content), 0o600),
			os.Chtimes(path, binaryTime, binaryTime)); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range systems {
		name := filepath.Join(s[0]+"_"+s[1], "kubectl-castai")
		write(name, "program for "+s[0]+"/"+s[1])
		artifacts = append(artifacts, map[string]string{"type": "Binary", "goos": s[0], "goarch": s[1],
			"path": filepath.Join("dist", name)})
	}
	list, err := json.Marshal(artifacts)
	if err != nil {
		t.Fatal(err)
	}
	write("artifacts.json", string(list))
	write("metadata.json", `{"version": "1.2.3", "commit": "0123abcd"}`)
	return dir
}

// images reads the layout in dist/image, as those do that push it: one index,
// with an image for each architecture.
func images(t *testing.T, dist string) (digest v1.Hash, byArch map[string]v1.Image) {
	t.Helper()
	path, err := layout.FromPath(filepath.Join(dist, "image"))
	if err != nil {
		t.Fatal(err)
	}
	outer, err := path.ImageIndex()
	if err != nil {
		t.Fatal(err)
	}
	top, err := outer.IndexManifest()
	if err != nil || len(top.Manifests) != 1 || top.Manifests[0].MediaType != types.OCIImageIndex {
		t.Fatalf("the layout holds %+v, %v", top, err)
	}
	digest = top.Manifests[0].Digest
	index, err := outer.ImageIndex(digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
	list, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	byArch = map[string]v1.Image{}
	for _, m := range list.Manifests {
		if m.MediaType != types.OCIManifestSchema1 || m.Platform.OS != "linux" {
			t.Errorf("%+v", m)
		}
		if byArch[m.Platform.Architecture], err = index.Image(m.Digest); err != nil {
			t.Fatal(err)
		}
	}
	return digest, byArch
}

// layerOf takes the only layer of an image apart.
func layerOf(t *testing.T, img v1.Image) (headers map[string]*tar.Header, content map[string][]byte) {
	t.Helper()
	layers, err := img.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	stream, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	headers, content = map[string]*tar.Header{}, map[string][]byte{}
	for r := tar.NewReader(stream); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return headers, content
		}
		if err != nil {
			t.Fatal(err)
		}
		headers[h.Name] = h
		if content[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

func TestImage(t *testing.T) {
	dist := distOf(t, [2]string{"linux", "amd64"}, [2]string{"darwin", "arm64"}, [2]string{"linux", "arm64"})
	said, err := writeImage(dist, licence)
	if err != nil {
		t.Fatal(err)
	}
	digest, byArch := images(t, dist)
	if said != digest || len(byArch) != 2 {
		t.Errorf("it says %s and is %s with %d images", said, digest, len(byArch))
	}
	for arch, img := range byArch {
		config, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if config.OS != "linux" || config.Architecture != arch || !config.Created.Equal(binaryTime) {
			t.Errorf("%s is of %s/%s from %s", arch, config.OS, config.Architecture, config.Created)
		}
		want := v1.Config{Entrypoint: []string{"/kubectl-castai"}, Cmd: []string{"hibernate", "run"}, User: "65532:65532",
			WorkingDir: "/", Labels: imageLabels("v1.2.3", "0123abcd")}
		if d := cmp.Diff(want, config.Config); d != "" {
			t.Error(d)
		}
		headers, content := layerOf(t, img)
		modes := map[string]int64{}
		for name, h := range headers {
			modes[name] = h.Mode
			if h.Uid != 0 || h.Gid != 0 || !h.ModTime.Equal(binaryTime) || h.Uname != "" {
				t.Errorf("%s is %+v", name, h)
			}
		}
		if d := cmp.Diff(map[string]int64{"kubectl-castai": 0o755, "LICENSE": 0o644, "etc/": 0o755, "etc/ssl/": 0o755,
			"etc/ssl/certs/": 0o755, imageRoots: 0o644}, modes); d != "" {
			t.Error(d)
		}
		if got := string(content["kubectl-castai"]); got != "program for linux/"+arch {
			t.Errorf("%s runs the %s", arch, got)
		}
		certificates(t, content[imageRoots])
	}
}

// certificates fails the test unless these are those that a browser trusts.
func certificates(t *testing.T, content []byte) {
	t.Helper()
	var subjects []string
	for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if !c.IsCA && c.Version > 2 { // an older one can't say so
			t.Errorf("%s signs nobody", c.Subject)
		}
		subjects = append(subjects, c.Subject.CommonName)
	}
	for _, name := range []string{"ISRG Root X1", "GTS Root R1", "Amazon Root CA 1", "DigiCert Global Root G2"} {
		if !slices.Contains(subjects, name) {
			t.Errorf("%s is not among the %d certificates", name, len(subjects))
		}
	}
}

// The same binaries make the same image, wherever and whenever that is.
func TestImageIsReproducible(t *testing.T) {
	build := func(times int, systems ...[2]string) string {
		dist := distOf(t, systems...)
		for range times { // what is there is replaced
			if _, err := writeImage(dist, licence); err != nil {
				t.Fatal(err)
			}
		}
		index, err := os.ReadFile(filepath.Join(dist, "image", "index.json"))
		if err != nil {
			t.Fatal(err)
		}
		return string(index)
	}
	amd, arm := [2]string{"linux", "amd64"}, [2]string{"linux", "arm64"}
	if d := cmp.Diff(build(1, amd, arm), build(2, arm, amd)); d != "" { // they get ready in any order
		t.Error(d)
	}
}

func TestImageWithoutLinux(t *testing.T) {
	if digest, err := writeImage(distOf(t, [2]string{"darwin", "arm64"}), licence); err == nil {
		t.Errorf("%s is made of nothing", digest)
	}
}
