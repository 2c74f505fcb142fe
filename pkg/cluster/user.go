package cluster

import (
	"context"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// User is whom the API server takes a user for.
type User struct {
	Name   string                                 `json:"name"`
	UID    string                                 `json:"uid,omitempty"`
	Groups []string                               `json:"groups,omitempty"`
	Extra  map[string]authenticationv1.ExtraValue `json:"extra,omitempty"`
}

// WhoAmI asks the API server whom it takes the user for, by SelfSubjectReview,
// as kubectl auth whoami does (Kubernetes 1.28 and later).
func (c *Client) WhoAmI(ctx context.Context) (*User, error) {
	gvr := authenticationv1.SchemeGroupVersion.WithResource("selfsubjectreviews")
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": authenticationv1.SchemeGroupVersion.String(), "kind": "SelfSubjectReview",
	}}
	answer, err := c.dynamic.Resource(gvr).Create(ctx, u, metav1.CreateOptions{})
	if err != nil {
		return nil, c.explain(err)
	}
	var review authenticationv1.SelfSubjectReview
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(answer.Object, &review); err != nil {
		return nil, err
	}
	i := review.Status.UserInfo
	return &User{i.Username, i.UID, i.Groups, i.Extra}, nil
}
