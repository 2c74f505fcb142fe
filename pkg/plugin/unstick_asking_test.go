package plugin

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/cluster/clustertest"
)

// TestTelling holds that a question to the API server that takes its time is named, once, and no other.
func TestTelling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := clustertest.Serve(t, clustertest.Object("v1", "Namespace", "", "shop"),
			deleting("ConfigMap", "shop", "a", "example.com/hold"), deleting("ConfigMap", "shop", "b", "example.com/hold"))
		for _, slow := range []bool{false, true} {
			server.Before(func(*clustertest.Request) clustertest.Fault {
				if slow {
					time.Sleep(8 * time.Second)
				}
				return clustertest.Fault{}
			})
			var out bytes.Buffer
			c := &telling{Client: server.Client(), out: &out}
			for _, name := range []string{"a", "b"} {
				target := server.Target(cluster.Ref{Kind: "ConfigMap", Namespace: "shop", Name: name})
				if err := c.Delete(t.Context(), target, cluster.DeleteOptions{DryRun: true}); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
			if n := strings.Count(out.String(), "Asking the API server whether it would accept the deletion of "+
				"ConfigMap/shop/"); slow && n != 2 || !slow && out.Len() > 0 {
				t.Errorf("slow: %t: %s", slow, out.String())
			}
		}
	})
}
