package cluster

import (
	"context"
)

// Namespaces lists the namespaces, as metadata.
func (c *Client) Namespaces(ctx context.Context) ([]*Object, error) {
	r := &Resource{Version: namespaces.Version, Name: namespaces.Resource, Kind: "Namespace"}
	out, err := c.list(ctx, r, "", nil)
	return out, c.explain(err)
}
