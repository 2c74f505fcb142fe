package main

import (
	"archive/tar"
	"bytes"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// What is in the image, beside the binary.
const (
	imageBinary = "kubectl-castai"
	// imageRoots is where Go looks for certificates first (crypto/x509 root_linux.go).
	imageRoots = "etc/ssl/certs/ca-certificates.crt"
	// imageUser is nobody who has a name, as in distroless images.
	imageUser = "65532:65532"
)

// imageFile is a file of the image's only layer.
type imageFile struct {
	name    string
	mode    int64
	content []byte
}

// writeImage makes the container image of what goreleaser has built for Linux in
// dist: an OCI image layout in dist/image, for all its architectures. Nothing in
// it comes from the machine or the clock. It returns the image's digest.
func writeImage(dist, licence string) (v1.Hash, error) {
	list, err := binaries(dist)
	if err != nil {
		return v1.Hash{}, err
	}
	if list = slices.DeleteFunc(list, func(b binary) bool { return b.GOOS != "linux" }); len(list) == 0 {
		return v1.Hash{}, fmt.Errorf("%s has no binary for Linux", dist)
	}
	// goreleaser lists them as they got ready.
	slices.SortFunc(list, func(a, b binary) int { return strings.Compare(a.GOARCH, b.GOARCH) })
	tag, commit, err := tagOf(dist)
	if err != nil {
		return v1.Hash{}, err
	}
	labels := imageLabels(tag, commit)
	text, err := os.ReadFile(licence)
	if err != nil {
		return v1.Hash{}, err
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, b := range list {
		img, err := b.image(labels, text)
		if err != nil {
			return v1.Hash{}, fmt.Errorf("%s: %w", b.Path, err)
		}
		platform := &v1.Platform{OS: b.GOOS, Architecture: b.GOARCH}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: platform}})
	}
	index, ok := mutate.Annotations(index, labels).(v1.ImageIndex)
	if !ok {
		return v1.Hash{}, fmt.Errorf("an index with annotations is a %T", index)
	}
	dir := filepath.Join(dist, "image")
	if err := os.RemoveAll(dir); err != nil {
		return v1.Hash{}, err
	}
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		return v1.Hash{}, err
	}
	if err := path.AppendIndex(index); err != nil {
		return v1.Hash{}, err
	}
	return index.Digest()
}

// imageLabels are those of the OCI image specification (annotations.md).
func imageLabels(tag, commit string) map[string]string {
	const prefix = "org.opencontainers.image."
	return map[string]string{
		prefix + "title":    "kubectl-castai",
		prefix + "source":   "https://github.com/castai/kubectl-castai",
		prefix + "licenses": "Apache-2.0",
		prefix + "version":  tag,
		prefix + "revision": commit,
	}
}

// image returns the one that runs the binary. It is as old as the binary, which
// goreleaser makes as old as the commit.
func (b binary) image(labels map[string]string, licence []byte) (v1.Image, error) {
	info, err := os.Stat(b.Path)
	if err != nil {
		return nil, err
	}
	content, err := os.ReadFile(b.Path)
	if err != nil {
		return nil, err
	}
	created := info.ModTime().UTC().Truncate(time.Second)
	files, err := tarOf([]imageFile{{imageBinary, 0o755, content}, {"LICENSE", 0o644, licence},
		{imageRoots, 0o644, roots()}}, created)
	if err != nil {
		return nil, err
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(files)), nil }
	layer, err := tarball.LayerFromOpener(open, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	config := &v1.ConfigFile{
		OS: b.GOOS, Architecture: b.GOARCH, Created: v1.Time{Time: created}, RootFS: v1.RootFS{Type: "layers"},
		Config: v1.Config{
			// What the CronJobs of Cast AI's own image run has no arguments either.
			Entrypoint: []string{"/" + imageBinary}, Cmd: []string{"hibernate", "run"},
			User: imageUser, WorkingDir: "/", Labels: labels,
		},
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	if img, err = mutate.ConfigFile(img, config); err != nil {
		return nil, err
	}
	return mutate.Append(img, mutate.Addendum{Layer: layer,
		History: v1.History{Created: v1.Time{Time: created}, CreatedBy: "hack/release image"}})
}

// tarOf packs files and the folders that they are in. All belong to root.
func tarOf(files []imageFile, created time.Time) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	made := map[string]bool{}
	for _, f := range files {
		for i, r := range f.name {
			if dir := f.name[:i] + "/"; r == '/' && !made[dir] {
				made[dir] = true
				if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755, ModTime: created}); err != nil {
					return nil, err
				}
			}
		}
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: f.mode, Size: int64(len(f.content)),
			ModTime: created}); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), w.Close()
}

// roots are the certificates that Mozilla trusts, as PEM: those without
// constraints, which PEM can't express.
func roots() []byte {
	var out strings.Builder
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			out.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}))
		}
	}
	return []byte(out.String())
}
