package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilrand "k8s.io/apimachinery/pkg/util/rand"
)

// StartJob makes a Job from a CronJob, as kubectl create job --from does
// (k8s.io/kubectl v0.36.3 pkg/cmd/create/create_job.go), under a name that begins
// with the CronJob's.
func (c *Client) StartJob(ctx context.Context, cronJob Target) (Target, error) {
	resource := schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "jobs"}
	from, err := c.dynamic.Resource(cronJob.GVR()).Namespace(cronJob.Namespace).Get(ctx, cronJob.Name, metav1.GetOptions{})
	if err != nil {
		return Target{}, c.explain(err)
	}
	template, _, err := unstructured.NestedMap(from.Object, "spec", "jobTemplate")
	if err != nil {
		return Target{}, err
	}
	job := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "batch/v1", "kind": "Job",
		"spec": template["spec"]}}
	job.SetName(cronJob.Name + "-manual-" + utilrand.String(5))
	if meta, ok := template["metadata"].(map[string]any); ok {
		of := &unstructured.Unstructured{Object: map[string]any{"metadata": meta}}
		job.SetLabels(of.GetLabels())
		job.SetAnnotations(of.GetAnnotations())
	}
	annotations := job.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations["cronjob.kubernetes.io/instantiate"] = "manual"
	job.SetAnnotations(annotations)
	job.SetOwnerReferences([]metav1.OwnerReference{*metav1.NewControllerRef(from,
		schema.GroupVersionKind{Group: "batch", Version: "v1", Kind: "CronJob"})})
	made, err := c.dynamic.Resource(resource).Namespace(cronJob.Namespace).Create(ctx, job,
		metav1.CreateOptions{FieldManager: FieldManager})
	if apierrors.IsAlreadyExists(err) { // by this request, whose first answer was lost
		made, err = c.dynamic.Resource(resource).Namespace(cronJob.Namespace).Get(ctx, job.GetName(), metav1.GetOptions{})
	}
	if err != nil {
		return Target{}, c.explain(err)
	}
	return Target{
		Ref:     Ref{Group: "batch", Kind: "Job", Namespace: cronJob.Namespace, Name: made.GetName()},
		Version: "v1", Resource: "jobs", UID: made.GetUID(),
	}, nil
}

// Logs copies the log of a pod's only container to w. With follow it goes on
// until the container or ctx ends.
func (c *Client) Logs(ctx context.Context, namespace, pod string, follow bool, w io.Writer) error {
	address := c.base.JoinPath("api", "v1", "namespaces", namespace, "pods", pod, "log")
	address.RawQuery = url.Values{"follow": {fmt.Sprint(follow)}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", c.userAgent)
	resp, err := c.streams.Do(req)
	if err != nil {
		return c.explain(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
		if err != nil {
			return err
		}
		var status metav1.Status
		if err := json.Unmarshal(body, &status); err == nil {
			return c.explain(&apierrors.StatusError{ErrStatus: status})
		}
		return apierrors.NewGenericServerResponse(resp.StatusCode, "get", schema.GroupResource{Resource: "pods"}, pod,
			string(body), 0, true)
	}
	_, err = io.Copy(w, resp.Body)
	return err
}
