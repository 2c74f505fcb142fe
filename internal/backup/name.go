package backup

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"strings"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// longestName bounds an encoded name. File systems allow 255 bytes; names of
// RBAC objects have no limit of their own.
const longestName = 200

// FileName returns the path, with slashes, of the file for an object inside the
// folder of a backup: namespaces/NAMESPACE/RESOURCE[.GROUP]/NAME.yaml or
// cluster/RESOURCE[.GROUP]/NAME.yaml. No two objects have the same, on no file
// system: what is not safe everywhere is percent-encoded.
func FileName(t cluster.Target) string {
	kind := encodeName(t.GVR().GroupResource().String())
	file := encodeName(t.Name) + ".yaml"
	if t.Namespace == "" {
		return path.Join("cluster", kind, file)
	}
	return path.Join("namespaces", encodeName(t.Namespace), kind, file)
}

// laterName is FileName for what was saved again, for the nth time, after its
// object had changed. What was there before stays as it is until the index names
// the new file, so that a run that is killed leaves a backup that is whole.
func laterName(t cluster.Target, n int) string {
	if n <= 0 {
		return FileName(t)
	}
	return path.Join(fmt.Sprintf("later-%d", n), FileName(t))
}

// encodeName makes the name of an object safe as a file name: lower-case
// letters, digits, dots, dashes and underscores stay, everything else becomes
// %XX, and so does the first byte of a name that Windows reserves. Capital
// letters are encoded, because many file systems do not tell them from small
// ones. A name that would be too long ends in ~ and its checksum.
func encodeName(name string) string {
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		switch {
		case i == 0 && (c == '.' || reserved(name)), i == len(name)-1 && c == '.':
			fmt.Fprintf(&b, "%%%02X", c) // Builder does not fail
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '.', c == '-', c == '_':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	if b.Len() <= longestName {
		return b.String()
	}
	sum := sha256.Sum256([]byte(name))
	short := b.String()[:longestName-1-2*len(sum)]
	if i := strings.LastIndexByte(short, '%'); i > len(short)-3 {
		short = short[:i]
	}
	return short + "~" + hex.EncodeToString(sum[:])
}

// reserved tells whether Windows takes the name for a device (Microsoft,
// "Naming Files, Paths, and Namespaces"), with or without an extension.
func reserved(name string) bool {
	base, _, _ := strings.Cut(strings.ToLower(name), ".")
	switch base {
	case "con", "prn", "aux", "nul":
		return true
	}
	if len(base) != 4 || !strings.HasPrefix(base, "com") && !strings.HasPrefix(base, "lpt") {
		return false
	}
	return '0' <= base[3] && base[3] <= '9'
}

// folderName turns what a person calls a cluster into a part of a file name:
// arn:aws:eks:eu-west-1:1234:cluster/prod becomes arn-aws-eks-eu-west-1-1234-cluster-prod.
func folderName(clusterName string) string {
	const longest = 80
	var b strings.Builder
	dash := false
	for _, r := range clusterName {
		if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '.' || r == '_' {
			b.WriteRune(r)
			dash = false
		} else if !dash {
			b.WriteByte('-')
			dash = true
		}
	}
	name := b.String()
	if len(name) > longest {
		name = name[:longest]
	}
	if name = strings.Trim(name, "-."); name == "" {
		return "cluster"
	}
	return name
}
