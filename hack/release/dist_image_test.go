//go:build dist

package main

import (
	"bytes"
	"debug/elf"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// The image holds the binaries that the archives hold. They need nothing else to
// run: no shell, no library, no loader. Without arguments one is the job of the
// CronJobs.
func TestImageOfRelease(t *testing.T) {
	m := released(t)
	list, err := binaries(built)
	if err != nil {
		t.Fatal(err)
	}
	_, byArch := images(t, built)
	for _, b := range list {
		if b.GOOS != "linux" {
			continue
		}
		img := byArch[b.GOARCH]
		if img == nil {
			t.Fatalf("no image is for %s", b.GOARCH)
		}
		_, content := layerOf(t, img)
		released, err := os.ReadFile(b.Path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(content[imageBinary], released) {
			t.Errorf("the binary for %s is another one", b.GOARCH)
		}
		program, err := elf.NewFile(bytes.NewReader(content[imageBinary]))
		if err != nil {
			t.Fatal(err)
		}
		libraries, err := program.ImportedLibraries()
		if loader := program.Section(".interp"); err != nil || len(libraries) > 0 || loader != nil {
			t.Errorf("the binary for %s needs %v and %v, %v", b.GOARCH, libraries, loader, err)
		}
		certificates(t, content[imageRoots])
		if b.GOOS == runtime.GOOS && b.GOARCH == runtime.GOARCH {
			runImage(t, img, content[imageBinary], m.Spec.Version)
		}
	}
}

// runImage runs a binary with an empty environment, as the image does.
func runImage(t *testing.T, img v1.Image, binary []byte, version string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), imageBinary)
	if err := os.WriteFile(path, binary, 0o700); err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		args []string
		code int
		want string
	}{
		{config.Config.Cmd, 2, `ACTION is "": it is pause or resume`},
		{append(slices.Clone(config.Config.Cmd), "--help"), 0, "hibernate run"},
		{[]string{"version"}, 0, version},
	} {
		cmd := exec.CommandContext(t.Context(), path, tc.args...)
		cmd.Env = []string{}
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		if cmd.ProcessState.ExitCode() != tc.code || !strings.Contains(string(out), tc.want) {
			t.Errorf("%v: %v: %s", tc.args, err, out)
		}
	}
}
