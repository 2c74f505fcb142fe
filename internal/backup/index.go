// Package backup saves what an offboarding is going to delete or change, one
// file an object, and plans how to put it back.
//
// What makes an object apply-able, what a file is called and what a restore does
// is decided by pure functions; pkg/cluster reads, pkg/engine writes.
package backup

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// What says that a document is the index of a backup that this version reads.
const (
	APIVersion = "castai.kubectl.dev/v1alpha1"
	Kind       = "Backup"
)

// Names of the files in the folder of a backup, beside the objects.
const (
	IndexName  = "index.json"
	ReportName = "report.jsonl"
)

// Index says what is in a backup, where it is from and why it was removed.
type Index struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// Cluster is where the objects are from. Its kube-system UID must be that of
	// the cluster that they are restored to.
	Cluster cluster.Server `json:"cluster"`
	Time    time.Time      `json:"time"`
	// Tool is the version of the plugin that made the backup.
	Tool string `json:"tool"`
	// SecretsLeftOut: the data of Secrets is not in the backup.
	SecretsLeftOut bool    `json:"secretsLeftOut,omitempty"`
	Objects        []Entry `json:"objects"`
	// Dependents are made by controllers for objects that are saved, and are not
	// saved themselves.
	Dependents []cluster.Ref `json:"dependents,omitempty"`
	// Unreadable is what could not be looked at, and so is not saved either.
	Unreadable []cluster.Unreadable `json:"unreadable,omitempty"`
	// Plan is what was going to be done, in order.
	Plan engine.Plan `json:"plan"`
}

// Entry is one object in a backup.
type Entry struct {
	cluster.Target `json:",inline"`
	File           string `json:"file"`
	SHA256         string `json:"sha256"`
	// Later counts how often the object was saved again, because it had changed:
	// File is that of the last time, in a folder of its own.
	Later int `json:"later,omitempty"`
	// Deleted: the plan deletes it. Otherwise it only changes it.
	Deleted bool `json:"deleted"`
	// Patches are the merge patches by which the plan changes it.
	Patches []map[string]any `json:"patches,omitempty"`
	// Evidence says why it is Cast AI's; that of users' objects is in the plan.
	Evidence   []ownership.Evidence `json:"evidence,omitempty"`
	Finalizers []string             `json:"finalizers,omitempty"`
	// Owners are those of its owners that the plan leaves alone, and OwnedBy
	// those that are in the backup themselves.
	Owners  []cluster.Target `json:"owners,omitempty"`
	OwnedBy []Owner          `json:"ownedBy,omitempty"`
	// Changes are the differences between the object and what is saved of it.
	Changes []Change `json:"changes,omitempty"`
	// NotRestored says why restore leaves it out.
	NotRestored string `json:"notRestored,omitempty"`

	// root is the folder that its file is in, once that is open.
	root *os.Root
	// controllerless are the finalizers that lose their controllers with the plan.
	controllerless []string
}

// Owner is an owner reference to an object in the same backup.
type Owner struct {
	Target             cluster.Target `json:"target"`
	Controller         bool           `json:"controller,omitempty"`
	BlockOwnerDeletion bool           `json:"blockOwnerDeletion,omitempty"`
}

// Refusal is an error for a backup that can be read, but must not be restored
// as it is, or not here.
type Refusal struct{ Reason string }

func (r *Refusal) Error() string { return r.Reason }

func refuse(format string, args ...any) error { return &Refusal{fmt.Sprintf(format, args...)} }

// ReadIndex reads and checks an index. It trusts nothing in it: the files must
// be the ones that FileName gives to the objects, each once. The error is a
// Refusal if the index is well-formed, but names other files.
func ReadIndex(data []byte) (*Index, error) {
	var meta struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
	}
	if err := decode(data, &meta); err != nil {
		return nil, err
	}
	if meta.Kind != Kind {
		return nil, fmt.Errorf("its kind is %q, not %s", meta.Kind, Kind)
	}
	if meta.APIVersion != APIVersion {
		return nil, fmt.Errorf("its version is %q, and this version of the plugin reads %s only: use the one that made it",
			meta.APIVersion, APIVersion)
	}
	var index Index
	if err := decode(data, &index); err != nil {
		return nil, err
	}
	if index.Cluster.KubeSystemUID == "" {
		return nil, errors.New("it does not say which cluster it is from")
	}
	refs, files := map[cluster.Ref]bool{}, map[string]bool{}
	for i := range index.Objects {
		e := &index.Objects[i]
		if e.Kind == "" || e.Name == "" || e.Version == "" || e.Resource == "" || e.UID == "" {
			return nil, fmt.Errorf("its object %d is incomplete", i)
		}
		if want := laterName(e.Target, e.Later); e.File != want {
			return nil, refuse("the index says that %s is in the file %q, and not in %q: somebody has edited it", e.Ref, e.File,
				want)
		}
		if sum, err := hex.DecodeString(e.SHA256); err != nil || len(sum) != 32 {
			return nil, fmt.Errorf("the checksum of %s is none", e.Ref)
		}
		if err := checkPatches(e); err != nil {
			return nil, err
		}
		if refs[e.Ref] || files[e.File] {
			return nil, refuse("the index names %s twice: somebody has edited it", e.Ref)
		}
		refs[e.Ref], files[e.File] = true, true
	}
	return &index, nil
}

// write writes the index as indented JSON, one object and one action of the plan
// at a time: the text of all of them is larger than what it is made of.
func (i *Index) write(to io.Writer) error {
	const objects, phases = `"objects": [`, `"phases": [`
	frame := *i
	frame.Objects, frame.Plan.Phases = []Entry{}, []engine.Phase{}
	text, err := json.MarshalIndent(frame, "", "  ")
	if err != nil {
		return err
	}
	// A string can't hold these: the quotes in it are escaped.
	start, rest, _ := strings.Cut(string(text), objects)
	middle, end, _ := strings.Cut(rest, phases)
	w := bufio.NewWriter(to)
	err = errors.Join(
		writeText(w, start+objects), writeList(w, "  ", i.Objects),
		writeText(w, middle+phases), writePhases(w, "    ", i.Plan.Phases),
		writeText(w, end+"\n"),
	)
	return errors.Join(err, w.Flush())
}

func writeText(w io.Writer, text string) error {
	_, err := io.WriteString(w, text)
	return err
}

// writeList writes what is between the brackets of a list that stands at an indent.
func writeList[T any](w io.Writer, indent string, list []T) error {
	return writeEach(w, indent, list, func(element T, indent string) error {
		text, err := json.MarshalIndent(element, indent, "  ")
		return errors.Join(err, writeText(w, string(text)))
	})
}

// writePhases does that for phases, whose actions are a list in turn.
func writePhases(w io.Writer, indent string, list []engine.Phase) error {
	const actions = `"actions": [`
	return writeEach(w, indent, list, func(phase engine.Phase, indent string) error {
		frame := phase
		if frame.Actions != nil {
			frame.Actions = []engine.Action{}
		}
		text, err := json.MarshalIndent(frame, indent, "  ")
		start, end, found := strings.Cut(string(text), actions)
		if !found {
			return errors.Join(err, writeText(w, start))
		}
		return errors.Join(err, writeText(w, start+actions), writeList(w, indent+"  ", phase.Actions), writeText(w, end))
	})
}

func writeEach[T any](w io.Writer, indent string, list []T, write func(element T, indent string) error) error {
	for n, element := range list {
		separator := ",\n"
		if n == 0 {
			separator = "\n"
		}
		if err := writeText(w, separator+indent+"  "); err != nil {
			return err
		}
		if err := write(element, indent+"  "); err != nil {
			return err
		}
	}
	if len(list) == 0 {
		return nil
	}
	return writeText(w, "\n"+indent)
}

// decode reads exactly one JSON document.
func decode(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	err := d.Decode(into)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("it is cut off: not all of it was written or copied")
	case err != nil:
		return fmt.Errorf("it is not JSON of that form: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more after its end")
	}
	return nil
}
