package main

import (
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/CycloneDX/cyclonedx-go"
)

// writeSBOM writes the bill of materials of a Go binary. It holds no time and
// no serial number: the same binary gives the same document.
func writeSBOM(version, binary, document string) (err error) {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return err
	}
	out, err := os.OpenFile(document, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := out.Close(); err == nil {
			err = closeErr
		}
	}()
	return cyclonedx.NewBOMEncoder(out, cyclonedx.BOMFileFormatJSON).SetPretty(true).Encode(materials(info, version,
		filepath.Base(binary)))
}

// materials turns what the linker recorded into a document. The version of the
// program itself is not in it when it is built from a checkout.
func materials(info *debug.BuildInfo, version, binary string) *cyclonedx.BOM {
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	main := component(&debug.Module{Path: info.Main.Path, Version: version}, settings)
	main.Type, main.Name = cyclonedx.ComponentTypeApplication, strings.TrimSuffix(binary, ".exe")
	bom := cyclonedx.NewBOM()
	bom.Metadata = &cyclonedx.Metadata{Component: &main}
	components := []cyclonedx.Component{{
		Type: cyclonedx.ComponentTypeLibrary, BOMRef: "pkg:golang/std@" + info.GoVersion,
		Name: "std", Version: info.GoVersion, PackageURL: "pkg:golang/std@" + strings.TrimPrefix(info.GoVersion, "go"),
	}}
	needs := []string{components[0].BOMRef}
	for _, module := range info.Deps {
		if module.Replace != nil {
			module = module.Replace
		}
		c := component(module, settings)
		components = append(components, c)
		needs = append(needs, c.BOMRef)
	}
	bom.Components = &components
	bom.Dependencies = &[]cyclonedx.Dependency{{Ref: main.BOMRef, Dependencies: &needs}}
	return bom
}

// component describes a module, with where it runs in its package URL
// (package-url, types/golang-definition).
func component(module *debug.Module, settings map[string]string) cyclonedx.Component {
	purl := fmt.Sprintf("pkg:golang/%s@%s?type=module&goos=%s&goarch=%s",
		module.Path, strings.ReplaceAll(module.Version, "+", "%2B"), settings["GOOS"], settings["GOARCH"])
	c := cyclonedx.Component{Type: cyclonedx.ComponentTypeLibrary, BOMRef: purl, Name: module.Path,
		Version: module.Version, PackageURL: purl}
	if sum, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(module.Sum, "h1:")); err == nil && len(sum) > 0 {
		c.Hashes = &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: hex.EncodeToString(sum)}}
	}
	return c
}
