package backup

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Field is a field in which an object differs from what was saved of it.
type Field struct {
	Path string `json:"path"`
	// Backup and Cluster are its values, null where there is none. Those of
	// secret fields are left out.
	Backup  any  `json:"backup"`
	Cluster any  `json:"cluster"`
	Secret  bool `json:"secret,omitempty"`
}

// differences lists the fields that were saved and are not there, or have
// another value. What the cluster has beside them is not compared. A list with
// another number of elements differs as a whole. Owner references are left out:
// those that come back name other UIDs.
func differences(saved, live map[string]any, secret bool) []Field {
	list := differ(nil, saved, live, "")
	list = slices.DeleteFunc(list, func(f Field) bool {
		return f.Path == "metadata.ownerReferences" || strings.HasPrefix(f.Path, "metadata.ownerReferences[")
	})
	for i := range list {
		if secret && holdsSecret(list[i].Path) {
			list[i].Backup, list[i].Cluster, list[i].Secret = nil, nil, true
		}
	}
	return list
}

// holdsSecret tells whether the data of a Secret is in a field: the field
// itself, or the configuration that kubectl apply keeps in an annotation.
func holdsSecret(path string) bool {
	first, _, _ := strings.Cut(path, ".")
	return first == "data" || first == "stringData" || strings.HasPrefix(path, "metadata.annotations")
}

func differ(out []Field, saved, live any, path string) []Field {
	switch want := saved.(type) {
	case map[string]any:
		have, ok := live.(map[string]any)
		if !ok && (live != nil || len(want) == 0) {
			return append(out, Field{Path: path, Backup: saved, Cluster: live})
		}
		for _, key := range slices.Sorted(maps.Keys(want)) {
			out = differ(out, want[key], have[key], strings.TrimPrefix(path+"."+key, "."))
		}
		return out
	case []any:
		have, ok := live.([]any)
		if !ok || len(have) != len(want) {
			return append(out, Field{Path: path, Backup: saved, Cluster: live})
		}
		for i := range want {
			out = differ(out, want[i], have[i], path+"["+strconv.Itoa(i)+"]")
		}
		return out
	}
	if same(saved, live) {
		return out
	}
	return append(out, Field{Path: path, Backup: saved, Cluster: live})
}
