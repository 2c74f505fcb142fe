package controllers

import (
	"context"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/castai/kubectl-castai/test/living/releases"
)

// Agent is castai-agent: its leader writes the ConfigMap castai-agent-metadata.
func Agent(ctx context.Context) error {
	return lead(ctx, "castai-agent-leader-election-lock", func(ctx context.Context, c client.Client) error {
		o := &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: "castai-agent-metadata", Namespace: namespace()},
			Data:       map[string]string{"CLUSTER_ID": "00000000-0000-4000-8000-000000000000"},
		}
		err := c.Create(ctx, o)
		if apierrors.IsAlreadyExists(err) {
			return nil
		}
		return err
	})
}

// Evictor is castai-evictor, which changes nothing here.
func Evictor(ctx context.Context) error {
	return lead(ctx, "castai-evictor", func(ctx context.Context, c client.Client) error {
		return c.List(ctx, &corev1.NodeList{})
	})
}

// ClusterController is castai-cluster-controller with a console that wants castai-agent back whenever something of it
// is gone: what it has seen once it puts back, whoever removed it, also after the records of the release have gone.
func ClusterController(ctx context.Context) error {
	return lead(ctx, "castai-cluster-controller", keep())
}

// Outside is a program of Cast AI's that does the same from outside of the cluster, as whoever it is run by: it ends
// with
// nothing in the cluster.
func Outside(ctx context.Context) error {
	c, err := newClient()
	if err != nil {
		return err
	}
	work := keep()
	every(ctx, time.Second, func() { _ = work(ctx, c) }) // the next time may be better
	return nil
}

// keep returns what puts back what it has seen of castai-agent.
func keep() func(context.Context, client.Client) error {
	known := map[string]*unstructured.Unstructured{}
	return func(ctx context.Context, c client.Client) error {
		helm, err := releases.New(namespace(), "castai-cluster-controller")
		if err != nil {
			return err
		}
		if release, err := helm.Last("castai-agent"); err == nil {
			all, err := helm.Objects(release)
			if err != nil {
				return err
			}
			for _, info := range all {
				o, ok := info.Object.(*unstructured.Unstructured)
				if ok {
					known[info.ObjectName()+info.Namespace] = o
				}
			}
		}
		var failed []error
		for _, o := range known {
			if err := c.Create(ctx, o.DeepCopy()); err != nil && !apierrors.IsAlreadyExists(err) {
				failed = append(failed, err)
			}
		}
		return errors.Join(failed...)
	}
}

const evictorCRD = `
metadata: {name: evictorconfigs.autoscaling.cast.ai}
spec:
  group: autoscaling.cast.ai
  names: {kind: EvictorConfig, listKind: EvictorConfigList, plural: evictorconfigs, singular: evictorconfig}
  scope: Cluster
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
`

// CRDUpgrade is the Job of castai-evictor's hook: it defines EvictorConfig and makes one, without any marks.
func CRDUpgrade(ctx context.Context) error {
	if err := takeTime(ctx, "CRD_UPGRADE_SECONDS"); err != nil {
		return err
	}
	c, err := newClient()
	if err != nil {
		return err
	}
	if err := apiextensionsv1.AddToScheme(c.Scheme()); err != nil {
		return err
	}
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict([]byte(evictorCRD), crd); err != nil {
		return err
	}
	if err := c.Create(ctx, crd); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	made, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	result := context.DeadlineExceeded
	every(made, 200*time.Millisecond, func() {
		o := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "autoscaling.cast.ai/v1", "kind": "EvictorConfig",
			"metadata": map[string]any{"name": "evictor-config"},
			"spec":     map[string]any{"evictionConfig": []any{}},
		}}
		data, err := o.MarshalJSON()
		if err == nil {
			err = c.Patch(made, o, client.RawPatch(types.ApplyPatchType, data), client.FieldOwner("kubectl"))
		}
		if meta.IsNoMatchError(err) || apierrors.IsNotFound(err) {
			return // not served yet
		}
		result = err
		cancel()
	})
	return result
}
