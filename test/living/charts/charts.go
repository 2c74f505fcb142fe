// Package charts holds the charts of the controllers that live in tests: small models of the published ones, with
// their names, labels and rights.
package charts

import (
	"embed"
	"fmt"
	"io/fs"
	"strings"

	"helm.sh/helm/v4/pkg/chart/loader/archive"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
)

//go:embed all:cast* all:omni-agent
var files embed.FS

// Load returns a chart by its name, in a version, or in its own if that is empty.
func Load(name, version string) (*chart.Chart, error) {
	c, err := From(files, name)
	if err != nil {
		return nil, fmt.Errorf("load chart %s: %w", name, err)
	}
	if version != "" {
		c.Metadata.Version, c.Metadata.AppVersion = version, "v"+version
	}
	return c, nil
}

// From reads the chart in a directory.
func From(fsys fs.FS, dir string) (*chart.Chart, error) {
	var buffered []*archive.BufferedFile
	err := fs.WalkDir(fsys, dir, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := fs.ReadFile(fsys, file)
		buffered = append(buffered, &archive.BufferedFile{Name: strings.TrimPrefix(file, dir+"/"), Data: data})
		return err
	})
	if err != nil {
		return nil, err
	}
	return loader.LoadFiles(buffered)
}
