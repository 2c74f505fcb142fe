package controllers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/release/common"
	"helm.sh/helm/v4/pkg/storage/driver"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/castai/kubectl-castai/test/living/charts"
	"github.com/castai/kubectl-castai/test/living/releases"
)

const (
	// cleanUp is the finalizer that the operator sets when it reconciles a Component, so some time after its creation.
	cleanUp = "castware.cast.ai/cleanup-helm"
	// patience is how long a release may stay pending before the operator looks for a revision to roll back to.
	patience = 10 * time.Minute
	// operatorManager is the name under which the operator writes: that of its program, as of every other one that
	// kubebuilder
	// has begun.
	operatorManager = "manager"
	// drift is how often the operator looks whether all of a release is still there.
	drift = 2 * time.Second
)

func kindComponent() schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: "castware.cast.ai", Version: "v1alpha1", Kind: "Component"}
}

// Operator is castware-operator: for each Component it installs a Helm release, upgrades it, puts back what is missing,
// and uninstalls it when the Component is deleted.
func Operator(ctx context.Context) error {
	certs, err := rotate(ctx)
	if certs == nil || err != nil {
		return err
	}
	m, err := newManager("castware-operator.cast.ai", func(o *ctrl.Options) {
		host, _, _ := strings.Cut(listenOn(0), ":")
		o.WebhookServer = webhook.NewServer(webhook.Options{Host: host, Port: 9443, CertDir: file(certDir)})
	})
	if err != nil {
		return err
	}
	if err := m.Add(certs); err != nil {
		return err
	}
	for _, kind := range []string{"cluster", "component"} {
		for _, verb := range []string{"mutate", "validate"} {
			path := fmt.Sprintf("/%s-castware-cast-ai-v1alpha1-%s", verb, kind)
			m.GetWebhookServer().Register(path, &webhook.Admission{Handler: admission.HandlerFunc(admit)})
		}
	}
	if err := m.AddReadyzCheck("webhook", m.GetWebhookServer().StartedChecker()); err != nil {
		return err
	}
	component := &unstructured.Unstructured{}
	component.SetGroupVersionKind(kindComponent())
	err = ctrl.NewControllerManagedBy(m).Named("component").For(component).Complete(&operator{m.GetClient()})
	if err != nil {
		return err
	}
	return m.Start(ctx)
}

// admit lets everything pass that names a component.
func admit(_ context.Context, r admission.Request) admission.Response {
	if r.Operation == admissionv1.Delete || r.Kind.Kind != "Component" {
		return admission.Allowed("")
	}
	o := &unstructured.Unstructured{}
	if err := o.UnmarshalJSON(r.Object.Raw); err != nil {
		return admission.Errored(http.StatusBadRequest, err)
	}
	if name, _, _ := unstructured.NestedString(o.Object, "spec", "component"); name == "" {
		return admission.Denied("spec.component is required")
	}
	return admission.Allowed("")
}

type operator struct{ client.Client }

// Reconcile brings the release of a Component to what the Component says.
func (o *operator) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	c := &unstructured.Unstructured{}
	c.SetGroupVersionKind(kindComponent())
	if err := o.Get(ctx, request.NamespacedName, c); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	helm, err := releases.New(namespace(), operatorManager)
	if err != nil {
		return ctrl.Result{}, err
	}
	if c.GetDeletionTimestamp() != nil {
		if !controllerutil.ContainsFinalizer(c, cleanUp) {
			return ctrl.Result{}, nil
		}
		if err := helm.Uninstall(c.GetName()); err != nil {
			return ctrl.Result{}, err
		}
		controllerutil.RemoveFinalizer(c, cleanUp)
		return ctrl.Result{}, client.IgnoreNotFound(o.Update(ctx, c))
	}
	if controllerutil.AddFinalizer(c, cleanUp) {
		if err := o.Update(ctx, c); err != nil {
			return ctrl.Result{}, err
		}
	}
	return ctrl.Result{RequeueAfter: drift}, o.release(ctx, helm, c)
}

// release installs or upgrades the release of a Component, or leaves it as it is.
func (o *operator) release(ctx context.Context, helm *releases.Releases, c *unstructured.Unstructured) error {
	version, _, _ := unstructured.NestedString(c.Object, "spec", "version")
	values, _, _ := unstructured.NestedMap(c.Object, "spec", "values")
	wanted, err := chartOf(c.GetName(), version)
	if err != nil {
		return err
	}
	last, err := helm.Last(c.GetName())
	if errors.Is(err, driver.ErrReleaseNotFound) {
		return o.work(ctx, c, "Installing", func() error { return helm.Install(c.GetName(), wanted, values, false) })
	}
	if err != nil {
		return err
	}
	upgrade := func() error { return helm.Upgrade(c.GetName(), wanted, values) }
	switch last.Info.Status {
	case common.StatusPendingInstall, common.StatusPendingUpgrade, common.StatusPendingRollback:
		if time.Since(last.Info.LastDeployed) < patience {
			return nil // somebody is at it, or was
		}
		return o.work(ctx, c, "RollingBack", func() error { return helm.Uninstall(c.GetName()) })
	case common.StatusDeployed:
	default:
		return o.work(ctx, c, "Upgrading", upgrade)
	}
	missing, err := helm.Missing(last)
	if err != nil {
		return err
	}
	if missing > 0 || last.Chart.Metadata.Version != version {
		return o.work(ctx, c, "Upgrading", upgrade)
	}
	return o.say(ctx, c, "Available", "Deployed")
}

// work says in the status what is going on, while it does.
func (o *operator) work(ctx context.Context, c *unstructured.Unstructured, reason string, do func() error) error {
	return errors.Join(o.say(ctx, c, "Progressing", reason), do())
}

// say sets the condition of a Component.
func (o *operator) say(ctx context.Context, c *unstructured.Unstructured, condition, reason string) error {
	next := map[string]any{"type": condition, "status": string(metav1.ConditionTrue), "reason": reason}
	now, _, _ := unstructured.NestedSlice(c.Object, "status", "conditions")
	if len(now) == 1 {
		if old, ok := now[0].(map[string]any); ok && old["type"] == condition && old["reason"] == reason {
			return nil
		}
	}
	next["lastTransitionTime"] = time.Now().UTC().Format(time.RFC3339)
	if err := unstructured.SetNestedSlice(c.Object, []any{next}, "status", "conditions"); err != nil {
		return err
	}
	return o.Status().Update(ctx, c)
}

// chartOf returns the chart of a component.
func chartOf(component, version string) (*chart.Chart, error) {
	return charts.Load("castai-"+strings.TrimPrefix(component, "castai-"), version)
}
