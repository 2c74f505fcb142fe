package finalize_test

import (
	"context"
	"fmt"
	"log"

	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/finalize"
)

// A namespace is freed with the rights and the cluster of the user's kubeconfig: what
// somebody alive is responsible for, and what guards something outside of the cluster,
// is refused, as unstick-ns refuses it.
func ExampleRunner() {
	ctx := context.Background()
	client, err := cluster.New(ctx, genericclioptions.NewConfigFlags(true), cluster.Options{UserAgent: "example"})
	if err != nil {
		log.Fatal(err)
	}
	runner := &finalize.Runner{Cluster: client, Namespaces: []string{"shop"}}
	seen, err := runner.Observe(ctx)
	if err != nil {
		log.Fatal(err)
	}
	diagnoses, err := runner.Diagnose(seen)
	if err != nil {
		log.Fatal(err)
	}
	for _, refusal := range runner.Refusals(diagnoses) {
		log.Fatal(refusal)
	}
	result, err := runner.Run(ctx, diagnoses)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Left)
}
