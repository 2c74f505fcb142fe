package printer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/util/jsonpath"
	"sigs.k8s.io/yaml"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// Named is a document that -o name prints: the objects that it is about.
type Named interface {
	// Objects returns them in the order of the document.
	Objects() []cluster.Ref
}

// customColumns is the format in which kubectl prints a table of one's own.
const customColumns = "custom-columns"

// templates are the formats that take a template behind a =.
func templates() []string {
	return append(genericclioptions.NewKubeTemplatePrintFlags().AllowedFormats(), customColumns)
}

// Formats are those in which every document can be printed, as in kubectl.
func Formats() []string { return append([]string{"json", "yaml"}, templates()...) }

// KnownFormat tells whether a document can be printed in a format, which may have
// a template behind a =.
func KnownFormat(format string) bool {
	name, _, _ := strings.Cut(format, "=")
	return slices.Contains(Formats(), name) && (format == name || name != "json" && name != "yaml")
}

// Print writes a document in a format: json, yaml, name, or one with a template,
// as kubectl get does. Custom columns have a row for each object of a document
// that is Named. The error says what is wrong with the format or the writer.
func Print(w io.Writer, format string, doc any) error {
	switch format {
	case "json":
		out, err := json.MarshalIndent(doc, "", "  ")
		if err != nil {
			return err
		}
		_, err = w.Write(append(out, '\n'))
		return err
	case "yaml":
		out, err := yaml.Marshal(doc)
		if err != nil {
			return err
		}
		_, err = w.Write(out)
		return err
	case "name":
		return printNames(w, doc)
	}
	if spec, ok := strings.CutPrefix(format, customColumns+"="); ok {
		return printColumns(w, spec, doc)
	}
	p, err := genericclioptions.NewKubeTemplatePrintFlags().ToPrinter(format)
	if err != nil {
		return fmt.Errorf("-o %s: %w", format, err)
	}
	content, err := generic(doc)
	if err != nil {
		return err
	}
	if err := p.PrintObj(&unstructured.Unstructured{Object: content}, w); err != nil {
		return err
	}
	if strings.HasPrefix(format, "jsonpath") {
		_, err = io.WriteString(w, "\n")
	}
	return err
}

// printNames writes objects as kubectl takes them: kind.group/name.
func printNames(w io.Writer, doc any) error {
	named, ok := doc.(Named)
	if !ok {
		return errors.New("-o name: this document is not about objects")
	}
	for _, r := range named.Objects() {
		gk := schema.GroupKind{Group: r.Group, Kind: strings.ToLower(r.Kind)}
		if _, err := fmt.Fprintf(w, "%s/%s\n", Escape(gk.String()), Escape(r.Name)); err != nil {
			return err
		}
	}
	return nil
}

// printColumns writes a table with a row for each object: HEADER:PATH,...
func printColumns(w io.Writer, spec string, doc any) error {
	named, ok := doc.(Named)
	if !ok {
		return fmt.Errorf("-o %s: this document is not about objects", customColumns)
	}
	var header []string
	var paths []*jsonpath.JSONPath
	for column := range strings.SplitSeq(spec, ",") {
		name, path, found := strings.Cut(column, ":")
		if !found || name == "" || path == "" {
			return fmt.Errorf("-o %s: %q is not HEADER:PATH, for example NAME:.name", customColumns, column)
		}
		j := jsonpath.New(name).AllowMissingKeys(true)
		if err := j.Parse("{." + strings.TrimPrefix(strings.Trim(path, "{}"), ".") + "}"); err != nil {
			return fmt.Errorf("-o %s: %s: %w", customColumns, column, err)
		}
		header, paths = append(header, name), append(paths, j)
	}
	rows := [][]string{header}
	for _, r := range named.Objects() {
		content, err := generic(r)
		if err != nil {
			return err
		}
		var row []string
		for _, j := range paths {
			var cell strings.Builder
			if err := j.Execute(&cell, content); err != nil {
				return err
			}
			if cell.Len() == 0 {
				cell.WriteString("<none>")
			}
			row = append(row, cell.String())
		}
		rows = append(rows, row)
	}
	t := NewText(w)
	t.width = 0
	t.table(rows)
	return t.Err()
}

// generic is a value as JSON has it.
func generic(v any) (map[string]any, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var out map[string]any
	return out, json.Unmarshal(raw, &out)
}
