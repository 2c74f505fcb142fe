package ownership

import (
	"github.com/castai/kubectl-castai/pkg/cluster"
)

// Explanation says why an object has its verdict: its evidence, and the
// evidence of what that rests on, down to a root.
type Explanation struct {
	Object  cluster.Ref   `json:"object"`
	Verdict Verdict       `json:"verdict"`
	For     []Evidence    `json:"for,omitempty"`
	Hints   []Evidence    `json:"hints,omitempty"`
	Against []Evidence    `json:"against,omitempty"`
	RestsOn []Explanation `json:"restsOn,omitempty"`
}

// Explain tells why an object is owned, unclear or foreign. The error says that
// there is no such object.
func (inv *Inventory) Explain(r cluster.Ref) (*Explanation, error) {
	o, err := inv.judged.snap.Find(r)
	if err != nil {
		return nil, err
	}
	e := inv.explain(o, map[*cluster.Object]bool{})
	return &e, nil
}

func (inv *Inventory) explain(o *cluster.Object, seen map[*cluster.Object]bool) Explanation {
	seen[o] = true
	out := Explanation{Object: o.Ref(), Verdict: Foreign}
	i := inv.judged.item(o)
	if i == nil {
		return out
	}
	out.Verdict, out.For, out.Hints, out.Against = i.Verdict, i.For, i.Hints, i.Against
	for _, e := range append(append([]Evidence{}, i.For...), i.Hints...) {
		if e.From == nil {
			continue
		}
		if from := inv.judged.find(*e.From); from != nil && !seen[from] {
			out.RestsOn = append(out.RestsOn, inv.explain(from, seen))
		}
	}
	return out
}
