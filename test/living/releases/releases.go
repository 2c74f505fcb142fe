// Package releases installs and removes charts of package charts with Helm's SDK, as a user does at a terminal and an
// operator in its pod.
package releases

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"helm.sh/helm/v4/pkg/action"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/kube"
	releasev1 "helm.sh/helm/v4/pkg/release/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/resource"
)

// timeout is how long an operation may take.
const timeout = 10 * time.Minute

// Releases are the Helm releases of a namespace.
type Releases struct {
	config    *action.Configuration
	namespace string
}

// New returns the releases of a namespace of the cluster that the environment leads to: KUBECONFIG, or the token of a
// pod. manager is the name under which Helm writes: its main function uses that of the program.
func New(namespace, manager string) (*Releases, error) {
	kube.ManagedFieldsManager = manager
	flags := genericclioptions.NewConfigFlags(true)
	cache := os.TempDir()
	flags.Namespace, flags.CacheDir = &namespace, &cache
	config := action.NewConfiguration(action.ConfigurationSetLogger(slog.NewTextHandler(os.Stderr, nil)))
	if err := config.Init(flags, namespace, "secret"); err != nil {
		return nil, fmt.Errorf("set up Helm: %w", err)
	}
	return &Releases{config, namespace}, nil
}

// Last returns the last revision of a release, or Helm's ErrReleaseNotFound.
func (r *Releases) Last(name string) (*releasev1.Release, error) {
	found, err := r.config.Releases.Last(name)
	if err != nil {
		return nil, err
	}
	release, ok := found.(*releasev1.Release)
	if !ok {
		return nil, fmt.Errorf("release %s is a %T", name, found)
	}
	return release, nil
}

// Install installs a chart, with its hooks, and creates the namespace. If ready is true it waits for the workloads.
func (r *Releases) Install(name string, c *chart.Chart, values map[string]any, ready bool) error {
	install := action.NewInstall(r.config)
	install.ReleaseName, install.Namespace, install.CreateNamespace = name, r.namespace, true
	install.Timeout, install.WaitStrategy = timeout, kube.HookOnlyStrategy
	if ready {
		install.WaitStrategy = kube.StatusWatcherStrategy
	}
	_, err := install.Run(c, values)
	return err
}

// Upgrade brings a release to a chart, and puts back what is missing of it.
func (r *Releases) Upgrade(name string, c *chart.Chart, values map[string]any) error {
	upgrade := action.NewUpgrade(r.config)
	upgrade.Namespace, upgrade.WaitStrategy, upgrade.Timeout = r.namespace, kube.HookOnlyStrategy, timeout
	_, err := upgrade.Run(name, c, values)
	return err
}

// Uninstall removes a release, with its hooks, if it is there.
func (r *Releases) Uninstall(name string) error {
	uninstall := action.NewUninstall(r.config)
	uninstall.IgnoreNotFound, uninstall.WaitStrategy, uninstall.Timeout = true, kube.HookOnlyStrategy, timeout
	_, err := uninstall.Run(name)
	return err
}

// Objects returns what a release lists.
func (r *Releases) Objects(release *releasev1.Release) ([]*resource.Info, error) {
	return r.config.KubeClient.Build(strings.NewReader(release.Manifest), false)
}

// Missing returns how many objects a release lists that the cluster does not have.
func (r *Releases) Missing(release *releasev1.Release) (int, error) {
	all, err := r.Objects(release)
	if err != nil {
		return 0, err
	}
	count := 0
	for _, info := range all {
		err := info.Get()
		if apierrors.IsNotFound(err) {
			count++
		} else if err != nil {
			return 0, err
		}
	}
	return count, nil
}
