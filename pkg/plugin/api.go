package plugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/pflag"

	"github.com/castai/kubectl-castai/internal/castai"
	"github.com/castai/kubectl-castai/internal/console"
	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// apiFlags select the Cast AI API, the cluster there, and the key.
type apiFlags struct {
	*Root
	keyFile   string
	url       string
	clusterID string
}

func (a *apiFlags) addFlags(f *pflag.FlagSet) {
	f.StringVar(&a.keyFile, "api-key-file", "",
		fmt.Sprintf("File with a Cast AI API key, - for standard input (default: the environment's %s, else %s)",
			castai.EnvKey, castai.EnvToken))
	f.StringVar(&a.url, "api-url", "", "Cast AI API (default: the one that the cluster's configuration names, else "+
		castai.DefaultURL+")")
	f.StringVar(&a.clusterID, "cluster-id", "",
		"Id of the cluster at Cast AI (default: the one that the cluster itself names)")
}

func (a *apiFlags) validate() error {
	if a.url != "" {
		var err error
		if a.url, err = castai.ParseURL(a.url); err != nil {
			return usage(fmt.Errorf("--api-url: %w", err))
		}
	}
	if a.clusterID != "" && uuid.Validate(a.clusterID) != nil {
		return usage(fmt.Errorf("--cluster-id %s is not an id: one looks like 2f1e4c1a-6b0d-4d55-9a6e-3f0c6d5b7a10",
			a.clusterID))
	}
	return nil
}

// key returns the key that was given, the zero one if none was.
func (a *apiFlags) key() (castai.Key, error) {
	k, err := castai.FindKey(a.keyFile, a.In, os.LookupEnv)
	if err != nil {
		return k, usage(err)
	}
	return k, nil
}

// client returns a client of the API, and the id of the cluster there.
func (a *apiFlags) client(key castai.Key, id ownership.Identity) (*castai.Client, string, error) {
	clusterID, err := a.cluster(id)
	if err != nil {
		return nil, "", refused(err)
	}
	url := a.url
	if url == "" {
		if url, err = castai.RegionURL(id.APIURL); err != nil {
			return nil, "", refused(err)
		}
	}
	client, err := castai.New(castai.Options{URL: url, Key: key, UserAgent: cluster.UserAgent(a.Version.Version),
		Wrap: a.audit.Wrap, Transport: a.castAI})
	return client, clusterID, err
}

// view returns what the console knows of the cluster, nil without a key. That it
// can't be known is a problem to be shown, and an error only if the user asked
// for it with a flag.
func (a *apiFlags) view(ctx context.Context, inv *ownership.Inventory) (*console.View, error) {
	key, err := a.key()
	if err != nil || key.IsZero() {
		return nil, err
	}
	view, err := a.observe(ctx, key, inv)
	switch {
	case err == nil:
		return view, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case a.keyFile != "" || a.url != "" || a.clusterID != "":
		return nil, err
	}
	return &console.View{API: a.url, ID: inv.Identity.ClusterID, Problem: err.Error()}, nil
}

func (a *apiFlags) observe(ctx context.Context, key castai.Key, inv *ownership.Inventory) (*console.View, error) {
	client, id, err := a.client(key, inv.Identity)
	if err != nil {
		return nil, err
	}
	state, err := console.Observe(ctx, client, id)
	if err != nil {
		return nil, err
	}
	return console.NewView(state), nil
}

// cluster returns the id of the cluster, if there is no doubt about it.
func (a *apiFlags) cluster(id ownership.Identity) (string, error) {
	var says []string
	for _, s := range id.Sources {
		says = append(says, fmt.Sprintf("%s says %s", s.Object, s.ClusterID))
	}
	named := slices.ContainsFunc(id.Sources, func(s ownership.IdentitySource) bool {
		return strings.EqualFold(s.ClusterID, a.clusterID)
	})
	switch {
	case a.clusterID != "" && len(says) > 0 && !named:
		return "", fmt.Errorf("--cluster-id %s is another cluster than this one: %s", a.clusterID, strings.Join(says, ", "))
	case a.clusterID != "":
		return strings.ToLower(a.clusterID), nil
	case id.Conflict:
		return "", fmt.Errorf("the cluster names several ids: %s: find out which one is right, and name it with --cluster-id",
			strings.Join(says, ", "))
	case id.ClusterID == "":
		return "", errors.New("nothing in the cluster says which one it is at Cast AI: name it with --cluster-id")
	case uuid.Validate(id.ClusterID) != nil:
		return "", fmt.Errorf("%s, which is not an id: name the right one with --cluster-id", says[0])
	}
	return strings.ToLower(id.ClusterID), nil
}
