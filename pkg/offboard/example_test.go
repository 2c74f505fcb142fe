package offboard_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/offboard"
	"github.com/castai/kubectl-castai/pkg/ownership"
)

// Cast AI is taken out of the cluster of the user's kubeconfig, unless something must be
// decided first. Nothing is saved: set Saver to have a backup.
func ExampleRunner() {
	ctx := context.Background()
	client, err := cluster.New(ctx, genericclioptions.NewConfigFlags(true), cluster.Options{UserAgent: "example"})
	if err != nil {
		log.Fatal(err)
	}
	catalogue, err := ownership.LoadCatalogue()
	if err != nil {
		log.Fatal(err)
	}
	runner := &offboard.Runner{
		Cluster: client, Catalogue: catalogue,
		CleanUp: time.Minute, Phase: 5 * time.Minute, Settle: 5 * time.Second,
	}
	seen, err := runner.Observe(ctx)
	if err != nil {
		log.Fatal(err)
	}
	if err := runner.Refusals(seen); err != nil {
		log.Fatal(err)
	}
	plan, err := runner.Plan(ctx, seen)
	if err != nil {
		log.Fatal(err)
	}
	result, err := runner.Remove(ctx, seen, plan)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(result.After.Owned()), "objects left")
}
