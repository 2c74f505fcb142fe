package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/castai/kubectl-castai/test/compare"
	"github.com/castai/kubectl-castai/test/driver"
	"github.com/castai/kubectl-castai/test/living"
)

const (
	// object is one that castai-cluster-controller puts back, as long as it runs.
	object = "deployment/castai-agent"
	// quiet is how long nothing may come back. The controllers look every second or two.
	quiet = 5 * time.Second
)

// live shows the same with controllers that run, and fight back.
func (d *demo) live(ctx context.Context, server *driver.Cluster, bin string) (err error) {
	if err := d.say("\nThe same, alive: castware-operator installs three components with Helm, and all of them run as processes ..."); err != nil {
		return err
	}
	cluster, err := living.Enliven(ctx, server, bin)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cluster.Quit()) }()
	before, err := compare.Settled(ctx, cluster.Config)
	if err != nil {
		return err
	}
	if err := cluster.Install(ctx); err != nil {
		return err
	}
	running := cluster.Node.Pods()
	if err := d.fight(ctx, cluster); err != nil {
		return err
	}
	if err := d.castai(ctx, "offboard --yes --settle=2s"); err != nil {
		return err
	}
	if err := d.say("\nWaiting %.0f s for what may come back ...", quiet.Seconds()); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(quiet):
	}
	after, err := compare.Settled(ctx, cluster.Config)
	if err != nil {
		return err
	}
	changes := compare.Changes(before, after)
	if err := d.say("\n  Cast AI's pods that ran        %6d\n  that run                       %6d\n  other than before the installation %2d",
		running, cluster.Node.Pods(), len(changes)); err != nil {
		return err
	}
	for _, change := range changes {
		if err := d.say("  %s", change); err != nil {
			return err
		}
	}
	if running == 0 || cluster.Node.Pods() > 0 || len(changes) > 0 {
		return errFailed
	}
	return nil
}

// fight shows what becomes of an object that is removed while its controller runs.
func (d *demo) fight(ctx context.Context, cluster *living.Cluster) error {
	for _, command := range [][]string{{"get", "pods"}, {"delete", object}} {
		command = append(command, "--namespace", living.Namespace)
		out, err := cluster.Kubectl(ctx, command...)
		if err != nil {
			return err
		}
		if err := d.say("\n$ kubectl %s\n%s", strings.Join(command, " "), strings.TrimSpace(string(out))); err != nil {
			return err
		}
	}
	start := time.Now()
	err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, time.Minute, true,
		func(ctx context.Context) (bool, error) {
			out, err := cluster.Kubectl(ctx, "get", object, "--namespace", living.Namespace, "--ignore-not-found",
				"--output=name")
			return len(out) > 0, err
		})
	if err != nil {
		return fmt.Errorf("wait for %s to come back: %w", object, err)
	}
	if err := d.say("castai-cluster-controller put it back after %.1f s.", time.Since(start).Seconds()); err != nil {
		return err
	}
	return cluster.Alive(ctx)
}
