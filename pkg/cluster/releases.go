package cluster

import (
	"context"
	"encoding/base64"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// StoredRelease is what Helm keeps of one revision of a release: the encoded
// record, still compressed, from a Secret or a ConfigMap.
type StoredRelease struct {
	Ref  Ref
	Data []byte // base64 of gzip of JSON, as Helm's storage drivers write it
}

// StoredReleases reads the records of the named Helm releases. It is the only
// place that reads the data of Secrets, and reads no others than asked for.
// A record that went away in between is left out.
func (c *Client) StoredReleases(ctx context.Context, targets []Target) ([]StoredRelease, error) {
	out := make([]*StoredRelease, len(targets))
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(concurrency)
	for i, t := range targets {
		group.Go(func() error {
			data, err := c.releaseData(ctx, t)
			if IsGone(err, t) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("can't read the Helm release %s: %w", t.Ref, c.explain(err))
			}
			mu.Lock()
			defer mu.Unlock()
			out[i] = &StoredRelease{Ref: t.Ref, Data: data}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var found []StoredRelease
	for _, r := range out {
		if r != nil {
			found = append(found, *r)
		}
	}
	return found, nil
}

func (c *Client) releaseData(ctx context.Context, t Target) ([]byte, error) {
	u, err := c.dynamic.Resource(t.GVR()).Namespace(t.Namespace).Get(ctx, t.Name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	data, _ := u.Object["data"].(map[string]any)
	text, _ := data["release"].(string)
	if t.Kind == "Secret" {
		return base64.StdEncoding.DecodeString(text)
	}
	return []byte(text), nil
}
