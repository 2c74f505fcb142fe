package plugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"

	"github.com/spf13/cobra"
	"k8s.io/kubectl/pkg/util/templates"

	"github.com/castai/kubectl-castai/internal/castai"
	"github.com/castai/kubectl-castai/internal/hibernate"
	"github.com/castai/kubectl-castai/internal/printer"
	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

func newHibernate(r *Root) *cobra.Command {
	cmd := &cobra.Command{
		Use:         "hibernate",
		Annotations: map[string]string{takesNamespace: "of the CronJobs"},
		Short:       "Pause and resume the cluster, on demand and on a schedule",
		Long: templates.LongDesc(`
			Pauses the cluster: stops Cast AI's autoscaler, moves what is essential to one small node, and has Cast AI remove
			the other nodes that it made. Resumes it: takes back all that the pause did, so that the autoscaler makes nodes
			for what waits. Writes down what it is about to do before it does it, so that a run that was killed can be gone
			on with, or taken back.`),
		Example: r.example(`
			# Is the cluster paused, and when will it be?
			%[1]s hibernate status

			# Pause it now, and wake it again
			%[1]s hibernate pause
			%[1]s hibernate resume

			# Every night
			%[1]s hibernate install --api-key-file=key --pause-schedule='0 20 * * 1-5' --time-zone=Europe/Vilnius`),
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage(fmt.Errorf("there is no command %q: %s --help lists them", args[0], cmd.CommandPath()))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, sub := range []*cobra.Command{
		newHibernateStatus(r), newHibernatePause(r), newHibernateResume(r), newHibernateLogs(r),
		newHibernateInstall(r), newHibernateSet(r), newHibernateUninstall(r), newHibernateSchedule(r), newHibernateRun(r),
	} {
		cmd.AddCommand(sub)
	}
	return cmd
}

// access is how the commands of hibernate reach Cast AI.
type access struct {
	apiFlags
	key castai.Key
}

// complete reads the key.
func (a *access) complete() (err error) {
	a.key, err = a.apiFlags.key()
	return err
}

// validate checks the flags, and the key: it must be there if it is needed.
func (a *access) validate(needed bool) (err error) {
	if err := a.apiFlags.validate(); err != nil {
		return err
	}
	if a.key.IsZero() {
		if needed {
			return usage(fmt.Errorf("this needs an API key of Cast AI with full access: name its file with --api-key-file (- is standard input), or set %s", castai.EnvKey))
		}
		return nil
	}
	if err := hibernate.CheckAPIKey(a.key.Reveal()); err != nil {
		return refused(err)
	}
	return nil
}

// namespace is where the objects of hibernation are.
func (r *Root) namespace() string {
	if r.Kube.Namespace != nil && *r.Kube.Namespace != "" {
		return *r.Kube.Namespace
	}
	return hibernate.Namespace
}

// identify fills in, from what the cluster says of itself, what the flags leave
// open. A region that nobody names is not taken for the US.
func (a *access) identify(id ownership.Identity) (err error) {
	if a.clusterID, err = a.cluster(id); err != nil {
		return refused(err)
	}
	if a.url != "" {
		return nil
	}
	if id.APIURL == "" {
		return refused(fmt.Errorf("no component of Cast AI's in this cluster tells its region: name the API with --api-url: %s or https://api.eu.cast.ai", castai.DefaultURL))
	}
	if a.url, err = castai.RegionURL(id.APIURL); err != nil {
		return refused(err)
	}
	return nil
}

// reach returns a client of the API, after a look at what the cluster says of
// itself.
func (a *access) reach(ctx context.Context, client *cluster.Client) (*castai.Client, error) {
	cat, err := ownership.LoadCatalogue()
	if err != nil {
		return nil, err
	}
	s, err := look(ctx, client, cat)
	if err != nil {
		return nil, err
	}
	if err := a.identify(s.Judge(ownership.Options{}).Identity); err != nil {
		return nil, err
	}
	return a.api()
}

// unarmed refuses to pause, or to have it paused, beside a schedule of the service's own
// hibernation. A key that may not see those can still pause: then it is a note.
func (a *access) unarmed(ctx context.Context, api *castai.Client, accept []string) (notes []string, err error) {
	m, err := hibernate.ObserveManaged(ctx, api, a.clusterID)
	if err != nil {
		return []string{fmt.Sprintf("whether the service's own hibernation pauses the cluster, too, is not known: %v",
			err)}, nil
	}
	return nil, refusal(m.Unarmed(accept))
}

// api returns a client of the API that the flags, or a look, have said.
func (a *access) api() (*castai.Client, error) {
	return castai.New(castai.Options{URL: a.url, Key: a.key, UserAgent: cluster.UserAgent(a.Version.Version),
		Transport: a.castAI})
}

// runner returns what pauses and resumes the cluster. api may be nil: then Cast
// AI is not asked.
func (a *access) runner(client *cluster.Client, api *castai.Client) *hibernate.Runner {
	r := &hibernate.Runner{
		Cluster: client, ClusterID: a.clusterID, Namespace: a.namespace(), By: whoami(),
		Tell: func(message string) { printer.NewText(a.ErrOut).Message(message) },
	}
	if api != nil {
		r.API = api // a nil client in an interface is not a nil interface
	}
	return r
}

// whoami is who it is that pauses or resumes, for others to see.
func whoami() string {
	name := "somebody"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		name += "@" + host
	}
	return name
}

// refusal turns what hibernate refuses, or has left, into the exit code for it. The
// rest of the error stays: it says what was taken back, and what was not.
func refusal(err error) error {
	if _, left := errors.AsType[*hibernate.LeftError](err); left {
		return &failure{ExitLeft, err}
	}
	if _, no := errors.AsType[*hibernate.Refusal](err); no && !errors.Is(err, ErrInterrupted) {
		return refused(err)
	}
	return err
}

// installation looks for the CronJobs.
func (r *Root) installation(ctx context.Context, client *cluster.Client) (*hibernate.Installation, error) {
	snap, err := client.Snapshot(ctx, hibernate.InstallationScope(r.namespace()))
	if err != nil {
		return nil, err
	}
	return hibernate.ReadInstallation(snap, r.namespace())
}
