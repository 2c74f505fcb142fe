package main

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/blang/semver/v4"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// What krew supports (krew, cmd/validate-krew-manifest/main.go) and what it
// takes for a licence (the same file, validateLicenseFileExists).
var (
	supported = []labels.Set{
		{"os": "windows", "arch": "386"}, {"os": "windows", "arch": "amd64"}, {"os": "windows", "arch": "arm64"},
		{"os": "linux", "arch": "386"}, {"os": "linux", "arch": "amd64"}, {"os": "linux", "arch": "arm"},
		{"os": "linux", "arch": "arm64"}, {"os": "linux", "arch": "ppc64le"},
		{"os": "darwin", "arch": "386"}, {"os": "darwin", "arch": "amd64"}, {"os": "darwin", "arch": "arm64"},
	}
	licences = []string{"license", "license.txt", "license.md", "licenses", "licenses.txt", "licenses.md", "copying",
		"copying.txt"}

	safeName   = regexp.MustCompile(`^[\w-]+$`)
	deviceName = regexp.MustCompile(`(?i)^(con|prn|aux|nul|com[0-9]|lpt[0-9])$`)
	sha256Sum  = regexp.MustCompile(`^[a-f0-9]{64}$`)
)

// validate checks every rule of krew's index for a manifest in a file of this
// name, and returns all that it breaks. What is in the archives is not known
// here.
func (m *Manifest) validate(file string) error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(m.APIVersion == "krew.googlecontainertools.github.com/v1alpha2", "apiVersion %q is not krew's", m.APIVersion)
	check(m.Kind == "Plugin", "kind %q is not Plugin", m.Kind)
	name := m.Metadata.Name
	check(safeName.MatchString(name) && !deviceName.MatchString(name), "the name %q can't be that of a plugin", name)
	check(file == name+".yaml", "the file %s is not named after the plugin %s", file, name)
	s := m.Spec
	check(s.ShortDescription != "" && !strings.ContainsAny(s.ShortDescription, "\r\n"), "shortDescription is not one line")
	check(strings.HasPrefix(s.Version, "v"), "the version %q does not start with v", s.Version)
	if _, err := semver.Parse(strings.TrimPrefix(s.Version, "v")); err != nil {
		errs = append(errs, fmt.Errorf("the version %q is not semantic: %w", s.Version, err))
	}
	check(s.Description != "" && s.Homepage != "", "description or homepage is missing")
	check(len(s.Platforms) > 0, "there are no platforms")
	for i, p := range s.Platforms {
		if err := p.validate(); err != nil {
			errs = append(errs, fmt.Errorf("platform %d: %w", i, err))
		}
	}
	return errors.Join(append(errs, overlaps(s.Platforms))...)
}

func (p *Platform) validate() error {
	var errs []error
	if p.URI == "" || p.Bin == "" {
		errs = append(errs, errors.New("uri or bin is missing"))
	}
	if clean := path.Clean(p.Bin); path.IsAbs(clean) || strings.HasPrefix(clean, "..") {
		errs = append(errs, fmt.Errorf("bin %s is outside of the plugin", p.Bin))
	}
	if !sha256Sum.MatchString(p.SHA256) {
		errs = append(errs, fmt.Errorf("sha256 %q is not 64 lower-case hexadecimal digits", p.SHA256))
	}
	if p.Files != nil && len(p.Files) == 0 {
		errs = append(errs, errors.New("files is there and empty"))
	}
	for _, f := range p.Files {
		if f.From == "" || f.To == "" {
			errs = append(errs, errors.New("files has an entry without from or to"))
		}
	}
	if len(p.Files) > 0 && !slices.ContainsFunc(p.Files, takesLicence) {
		errs = append(errs, errors.New("files takes no licence out of the archive"))
	}
	selected, err := p.selects()
	if err == nil && len(selected) == 0 {
		err = errors.New("the selector selects no platform that krew supports")
	}
	return errors.Join(append(errs, err)...)
}

// takesLicence tells whether a move takes the licence out of an archive.
func takesLicence(f FileMove) bool {
	return slices.ContainsFunc(licences, func(name string) bool {
		ok, err := path.Match(strings.ToLower(path.Base(f.From)), name)
		return ok && err == nil
	})
}

// selects returns the supported platforms that the selector selects.
func (p *Platform) selects() ([]labels.Set, error) {
	if p.Selector == nil {
		return nil, errors.New("there is no selector")
	}
	keys := make([]string, 0, len(p.Selector.MatchLabels)+len(p.Selector.MatchExpressions))
	for key := range p.Selector.MatchLabels {
		keys = append(keys, key)
	}
	for _, e := range p.Selector.MatchExpressions {
		keys = append(keys, e.Key)
	}
	for _, key := range keys {
		if key != "os" && key != "arch" {
			return nil, fmt.Errorf("the selector has the key %q: it may have os and arch", key)
		}
	}
	selector, err := metav1.LabelSelectorAsSelector(p.Selector)
	if err != nil {
		return nil, err
	}
	var out []labels.Set
	for _, pair := range supported {
		if selector.Matches(pair) {
			out = append(out, pair)
		}
	}
	return out, nil
}

// overlaps returns an error for each system that two platforms select.
func overlaps(platforms []Platform) error {
	var errs []error
	first := map[string]int{}
	for i, p := range platforms {
		selected, err := p.selects()
		if err != nil {
			continue // the platform's own error
		}
		for _, pair := range selected {
			key := pair["os"] + "/" + pair["arch"]
			if before, ok := first[key]; ok {
				errs = append(errs, fmt.Errorf("platforms %d and %d both select %s", before, i, key))
			}
			first[key] = i
		}
	}
	return errors.Join(errs...)
}
