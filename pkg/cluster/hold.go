package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilrand "k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/apimachinery/pkg/util/wait"
)

// How a Lease is held: whoever does not renew it for holdFor has died. That is
// judged by this machine's clock alone, from when the last change was seen.
const (
	holdFor  = 10 * time.Second
	renewing = 3 * time.Second
	looking  = time.Second
)

// ErrLost is the cause of a context whose Lease was lost.
var ErrLost = errors.New("somebody else may be at work by now")

// HeldError says that somebody holds a Lease and is alive.
type HeldError struct{ Holder string }

// Error names the holder.
func (e *HeldError) Error() string { return e.Holder + " is at it" }

// Hold takes the Lease of that name, so that others who ask for it know that
// somebody is at work. The context that it returns ends when the Lease is lost;
// release gives it back. Hold waits for a holder that may have died, after it has
// said so through tell; one that lives is a HeldError.
func (c *Client) Hold(ctx context.Context, namespace, name, holder string,
	tell func(holder string)) (held context.Context, release func(), err error) {
	// Two runs of one person are two holders. A blank can't be in a random part.
	h := &hold{client: c, namespace: namespace, name: name, holder: holder + " " + utilrand.String(8)}
	if err := h.acquire(ctx, tell); err != nil {
		return nil, nil, c.explain(err)
	}
	held, cancel := context.WithCancelCause(ctx)
	// After an interrupt there is work to be taken back: it is held until then.
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		h.renew(life, cancel)
	}()
	return held, func() {
		stop()
		<-ended
		cancel(context.Canceled)
		h.giveBack(context.WithoutCancel(ctx))
	}, nil
}

var leases = coordinationv1.SchemeGroupVersion.WithResource("leases")

type hold struct {
	client                  *Client
	namespace, name, holder string
	lease                   *unstructured.Unstructured // as it was last written
}

// content is the Lease as it is written now.
func (h *hold) content() map[string]any {
	now := time.Now().UTC().Format(metav1.RFC3339Micro)
	return map[string]any{"holderIdentity": h.holder, "leaseDurationSeconds": int64(holdFor / time.Second),
		"renewTime": now}
}

func (h *hold) acquire(ctx context.Context, tell func(string)) error {
	api := h.client.dynamic.Resource(leases).Namespace(h.namespace)
	var seen *unstructured.Unstructured
	var since time.Time
	return wait.PollUntilContextCancel(ctx, looking, true, func(ctx context.Context) (bool, error) {
		lease := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
			"spec": h.content()}}
		lease.SetName(h.name)
		made, err := api.Create(ctx, lease, metav1.CreateOptions{FieldManager: FieldManager})
		if err == nil || !apierrors.IsAlreadyExists(err) {
			h.lease = made
			return err == nil, err
		}
		now, err := api.Get(ctx, h.name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, nil // given back just now
		}
		if err != nil {
			return false, err
		}
		by := holderOf(now)
		switch {
		case by == h.holder: // the answer to its making was lost
			h.lease = now
			return true, nil
		case seen == nil:
			seen, since = now, time.Now()
			tell(person(by))
			return false, nil
		case now.GetResourceVersion() != seen.GetResourceVersion():
			return false, &HeldError{person(by)}
		case time.Since(since) < holdFor:
			return false, nil
		}
		now.Object["spec"] = h.content()
		h.lease, err = api.Update(ctx, now, metav1.UpdateOptions{FieldManager: FieldManager})
		if apierrors.IsConflict(err) {
			return false, &HeldError{person(by)}
		}
		return err == nil, err
	})
}

// giveBack deletes the Lease as it was last written: whoever has taken it over since, by
// an update, keeps it. Whoever comes next finds no Lease, or one that is not renewed.
func (h *hold) giveBack(ctx context.Context) {
	uid, version := h.lease.GetUID(), h.lease.GetResourceVersion()
	_ = h.client.dynamic.Resource(leases).Namespace(h.namespace).Delete(ctx, h.name,
		metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid, ResourceVersion: &version}})
}

// renew keeps the Lease until ctx ends. If it can't for so long that somebody else may
// take it, or somebody has, it ends the work that the Lease is for: at that moment, and not
// when a request that is sent again and again is given up.
func (h *hold) renew(ctx context.Context, cancel context.CancelCauseFunc) {
	api := h.client.dynamic.Resource(leases).Namespace(h.namespace)
	late := time.AfterFunc(holdFor, func() {
		cancel(fmt.Errorf("%w: the Lease %s/%s could not be renewed for %s", ErrLost, h.namespace, h.name, holdFor))
	})
	defer late.Stop()
	ctx = urgent(ctx)
	_ = wait.PollUntilContextCancel(ctx, renewing, false, func(ctx context.Context) (bool, error) {
		next := h.lease.DeepCopy()
		next.Object["spec"] = h.content()
		sent := time.Now()
		made, err := api.Update(ctx, next, metav1.UpdateOptions{FieldManager: FieldManager})
		if apierrors.IsConflict(err) {
			// Of an update whose answer was lost, the second try is in conflict with the first.
			if made, err = api.Get(ctx, h.name, metav1.GetOptions{}); err == nil && holderOf(made) != h.holder {
				err = apierrors.NewConflict(leases.GroupResource(), h.name, errors.New("held by "+person(holderOf(made))))
			}
		}
		switch {
		case err == nil:
			h.lease = made
			late.Reset(time.Until(sent.Add(holdFor)))
		case apierrors.IsConflict(err), apierrors.IsNotFound(err):
			cancel(fmt.Errorf("%w: somebody else took the Lease %s/%s over: %w", ErrLost, h.namespace, h.name, err))
			return true, nil
		}
		return false, nil
	})
}

// holderOf returns who holds a Lease, and person the one behind it.
func holderOf(lease *unstructured.Unstructured) string {
	by, _, err := unstructured.NestedString(lease.Object, "spec", "holderIdentity")
	if err != nil {
		return ""
	}
	return by
}

func person(holder string) string {
	if i := strings.LastIndex(holder, " "); i >= 0 {
		return holder[:i]
	}
	return holder
}
