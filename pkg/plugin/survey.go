package plugin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/castai/kubectl-castai/internal/printer"
	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/offboard"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// connect opens the cluster that the kubeconfig flags select.
func (r *Root) connect(ctx context.Context) (*cluster.Client, error) {
	return cluster.New(ctx, r.Kube, cluster.Options{
		UserAgent: cluster.UserAgent(r.Version.Version), Wrap: r.audit.Wrap,
		OnAway: func(reason string, patience time.Duration) {
			_, _ = fmt.Fprintf(r.ErrOut, "The API server does not answer (%s): waiting for it, up to %s\n",
				printer.Escape(reason), patience)
		},
	})
}

// defaultNamespace is what --namespace says, or nothing.
func (r *Root) defaultNamespace() string {
	if r.Kube.Namespace == nil {
		return ""
	}
	return *r.Kube.Namespace
}

// survey is what was read of a cluster to judge it.
type survey struct {
	*offboard.Survey
	snap *cluster.Snapshot
}

// look reads the cluster and all records that judging it needs; trust are the
// namespaces in which Cast AI lives by the user's word.
func look(ctx context.Context, client *cluster.Client, cat *ownership.Catalogue, trust ...string) (*survey, error) {
	s, err := offboard.Look(ctx, client, cat, trust)
	if err != nil {
		return nil, err
	}
	return &survey{s, s.Snapshot}, nil
}

// find reads references to objects as the user writes them and looks them up.
func (s *survey) find(flag string, texts []string) ([]cluster.Ref, error) {
	return s.findIn("", flag, texts)
}

// findIn looks for objects whose namespace is not written in a namespace, unless
// that is empty.
func (s *survey) findIn(namespace, flag string, texts []string) ([]cluster.Ref, error) {
	var out []cluster.Ref
	for _, text := range texts {
		r, err := cluster.ParseRef(text)
		if err != nil {
			return nil, usage(fmt.Errorf("%s: %w", flag, err))
		}
		if r.Namespace == "" && s.snap.Namespaced(r) {
			r.Namespace = namespace
		}
		o, err := s.snap.Find(r)
		if errors.Is(err, cluster.ErrNotListed) {
			return nil, fmt.Errorf("%s %s: %w", flag, text, err)
		}
		if err != nil {
			return nil, usage(fmt.Errorf("%s %s: %w", flag, text, err))
		}
		out = append(out, o.Ref())
	}
	return out, nil
}

// trustVar adds the flag with which an administrator vouches for namespaces.
func trustVar(f *pflag.FlagSet, trust *[]string) {
	f.StringArrayVar(trust, "trust-namespace", nil,
		"Cast AI lives in this namespace, although nothing cluster-wide says so: take what is written in it as evidence (repeatable)")
}

// trusted checks the namespaces that the user vouches for.
func trusted(trust []string) error {
	for _, ns := range trust {
		if problems := validation.IsDNS1123Label(ns); len(problems) > 0 {
			return usage(fmt.Errorf("--trust-namespace %s: it is not the name of a namespace: %s", ns, problems[0]))
		}
	}
	return nil
}
