package printer

import (
	"encoding/json"
	"io"
	"strconv"

	"github.com/castai/kubectl-castai/pkg/ownership"
)

// Summary is what of Cast AI is in one of many clusters, in a line.
type Summary struct {
	TypeMeta   `json:",inline"`
	Context    string `json:"context"`
	Cluster    string `json:"cluster,omitempty"`
	Clean      bool   `json:"clean"`
	Owned      int    `json:"owned"`
	Unclear    int    `json:"unclear"`
	Unreadable int    `json:"unreadable"`
	// Remains counts what has an identity of Cast AI's and stays for others.
	Remains  int      `json:"remains"`
	Blockers []string `json:"blockers,omitempty"`
	// Error says why nothing is known of the cluster.
	Error string `json:"error,omitempty"`
}

// NewSummary makes the summary of an inventory, or of why there is none.
func NewSummary(context string, inv *ownership.Inventory, err error) Summary {
	s := Summary{TypeMeta: TypeMeta{APIVersion, "Summary"}, Context: context}
	if err != nil {
		s.Error = err.Error()
		return s
	}
	s.Cluster, s.Clean = inv.Server.DisplayName(), inv.Clean()
	s.Owned, s.Unclear, s.Unreadable = len(inv.Owned()), len(inv.Unclear()), len(inv.Unreadable)
	s.Remains = len(inv.Remains)
	for _, b := range inv.Blockers {
		s.Blockers = append(s.Blockers, b.Name)
	}
	return s
}

// Summaries writes one line for each cluster: of a table, or of JSON.
func Summaries(w io.Writer, asJSON bool, list []Summary) error {
	if asJSON {
		out := json.NewEncoder(w)
		for _, s := range list {
			if err := out.Encode(s); err != nil {
				return err
			}
		}
		return nil
	}
	rows := [][]string{{"CONTEXT", "CAST AI'S", "UNCLEAR", "VERDICT"}}
	for _, s := range list {
		verdict := "clean"
		switch {
		case s.Error != "":
			rows = append(rows, []string{s.Context, "-", "-", "unknown: " + s.Error})
			continue
		case s.Owned > 0:
			verdict = "something is left"
		case s.Unreadable > 0:
			verdict = "unknown: not everything could be read"
		case s.Remains > 0:
			verdict = "names of Cast AI's stay for others"
		}
		rows = append(rows, []string{s.Context, strconv.Itoa(s.Owned), strconv.Itoa(s.Unclear), verdict})
	}
	t := NewText(w)
	t.whole(rows)
	return t.Err()
}
