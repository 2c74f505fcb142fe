package plugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/castai/kubectl-castai/internal/castai"
	"github.com/castai/kubectl-castai/internal/hibernate"
	"github.com/castai/kubectl-castai/pkg/engine"
)

// hibernateRunOptions are those of a Job, which has them in its environment: the
// one of Cast AI's own job (castai/hibernate v0.14 app/main.py).
type hibernateRunOptions struct {
	hibernateResumeOptions
	job hibernate.Job
}

func newHibernateRun(r *Root) *cobra.Command {
	o := &hibernateRunOptions{hibernateResumeOptions: hibernateResumeOptions{
		nightOptions: nightOptions{Root: r, access: access{apiFlags: apiFlags{Root: r}}, dryRun: dryRunNone, yes: true,
			unattended: true, timeout: 50 * time.Minute, step: 10 * time.Minute, drain: 5 * time.Minute},
	}}
	return &cobra.Command{
		Use:    "run",
		Short:  "Pause or resume as the environment of a CronJob says",
		Hidden: true,
		Args:   noArgs, RunE: run(o),
	}
}

// Complete reads the environment.
func (o *hibernateRunOptions) Complete(*cobra.Command, []string) (err error) {
	if o.job, err = hibernate.JobFromEnv(os.Getenv); err != nil {
		return usage(err)
	}
	o.access.clusterID, o.access.url = o.job.ClusterID, o.job.APIURL
	o.access.key, err = castai.FindKey("", o.In, func(name string) (string, bool) {
		return o.job.APIKey, name == castai.EnvKey && o.job.APIKey != ""
	})
	return err
}

// Validate checks what the environment says.
func (o *hibernateRunOptions) Validate() error {
	if o.access.clusterID == "" {
		return usage(errors.New("CLUSTER_ID is empty: it is in the ConfigMaps castai-cluster-controller or castai-agent-metadata"))
	}
	if o.access.url == "" {
		return usage(errors.New("API_URL is empty: it is https://api.cast.ai or https://api.eu.cast.ai"))
	}
	if err := acceptable(o.job.Accept); err != nil {
		return usage(fmt.Errorf("ACCEPT: %w", err))
	}
	if o.job.Keep != "" && !slices.Contains(hibernate.KeepModes(), o.job.Keep) {
		return usage(fmt.Errorf("KEEP is %q: it is %s", o.job.Keep, strings.Join(hibernate.KeepModes(), " or ")))
	}
	return o.validate()
}

// Run pauses or resumes.
func (o *hibernateRunOptions) Run(cmd *cobra.Command) error {
	ctx := cmd.Context()
	if err := o.inNamespace(); err != nil {
		return err
	}
	var err error
	if o.client, err = o.connect(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	api, err := o.access.api()
	if err != nil {
		return err
	}
	o.useRunner(api)
	o.runner.By = fmt.Sprintf("%s in namespace %s", o.runner.By, o.namespace())
	if !o.job.Pause {
		ctx, cancel := context.WithTimeoutCause(ctx, o.timeout, fmt.Errorf("it %w after %s", engine.ErrTimeout, o.timeout))
		defer cancel()
		o.wait = true
		return o.runner.Insist(ctx, o.resume)
	}
	return o.pause(ctx, hibernate.PauseOptions{
		Settings: o.job.Settings, Switch: hibernate.SwitchAll, JobNode: o.job.Node, Accept: o.job.Accept, Keep: o.job.Keep,
		Run: newRun(), By: o.runner.By,
	})
}

// inNamespace takes the namespace of the pod for that of the installation, unless
// a flag names another one.
func (o *hibernateRunOptions) inNamespace() error {
	if os.Getenv("KUBERNETES_SERVICE_HOST") == "" || *o.Kube.Namespace != "" {
		return nil
	}
	ns, _, err := o.Kube.ToRawKubeConfigLoader().Namespace()
	if err == nil {
		o.Kube.Namespace = &ns
	}
	return err
}
