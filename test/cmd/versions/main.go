// Command versions runs the demo and the end-to-end tests on several versions of
// Kubernetes and writes docs/versions.md. Usage: versions [-checks=demo,offboard]
// VERSION..., each as MINOR or MINOR@EMULATED.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/castai/kubectl-castai/test/controlplane"
	"github.com/castai/kubectl-castai/test/versions"
)

const root = ".."

func main() {
	checks := flag.String("checks", "", "names of checks, separated by commas; all by default")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, flag.Args(), *checks)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "versions:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, names []string, checks string) error {
	if len(names) == 0 {
		return errors.New("name at least one version, like 1.30 or 1.36@1.35")
	}
	results, err := versions.Read(root)
	if err != nil {
		return err
	}
	commit, err := exec.CommandContext(ctx, "git", "rev-parse", "--short", "HEAD").Output()
	if err != nil {
		return fmt.Errorf("git rev-parse: %w", err)
	}
	failed := 0
	for _, name := range names {
		r, err := server(ctx, name)
		if err != nil {
			return err
		}
		r.Commit, r.Date = strings.TrimSpace(string(commit)), time.Now().UTC().Format(time.DateOnly)
		for _, c := range versions.Checks {
			if checks != "" && !slices.Contains(strings.Split(checks, ","), c.Name) {
				continue
			}
			done := check(ctx, r, c.Name, c.Package)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			fmt.Printf("%s %s: %d passed, %d failed, %d skipped\n", r.Version, c.Name, done.Passed, done.Failed, done.Skipped)
			if done.Failed > 0 || done.Broken {
				failed++
			}
			results = versions.Add(results, done)
			if err := versions.Write(root, results); err != nil {
				return err
			}
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d checks failed", failed)
	}
	return nil
}

// server chooses a version for everything that is started from now on, builds it
// and asks it for its name.
func server(ctx context.Context, name string) (versions.Result, error) {
	if err := os.Setenv(controlplane.VersionVariable, name); err != nil {
		return versions.Result{}, err
	}
	bin, err := controlplane.Binaries(ctx)
	if err != nil {
		return versions.Result{}, err
	}
	out, err := exec.CommandContext(ctx, bin.APIServer, "--version").Output() //nolint:gosec // built here
	if err != nil {
		return versions.Result{}, fmt.Errorf("%s --version: %w", bin.APIServer, err)
	}
	_, emulate, _ := strings.Cut(name, "@")
	fields := strings.Fields(string(out))
	return versions.Result{Version: fields[len(fields)-1], Emulate: emulate}, nil
}

// check runs the demo or the tests of a package and counts.
func check(ctx context.Context, r versions.Result, name, pkg string) versions.Result {
	r.Check = name
	if pkg == "" {
		cmd := exec.CommandContext(ctx, "go", "run", "./demo")
		cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
		if cmd.Run() != nil {
			r.Failed = 1
			return r
		}
		r.Passed = 1
		return r
	}
	cmd := exec.CommandContext(ctx, "go", "test", "-count=1", "-json", "-timeout=30m", pkg) //nolint:gosec // a constant
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil || cmd.Start() != nil {
		r.Broken = true
		return r
	}
	ended := count(&r, bufio.NewScanner(out))
	err = cmd.Wait()
	r.Broken = !ended || err != nil && r.Failed == 0
	return r
}

// count counts the results of tests that are no part of another, and prints what
// those that failed said. It tells whether the package came to its end.
func count(r *versions.Result, events *bufio.Scanner) (ended bool) {
	events.Buffer(nil, 1<<24)
	said := map[string][]string{}
	for events.Scan() {
		var e struct{ Action, Test, Output string }
		if json.Unmarshal(events.Bytes(), &e) != nil {
			continue
		}
		test, _, _ := strings.Cut(e.Test, "/")
		if e.Action == "output" {
			said[test] = append(said[test], e.Output)
		}
		if e.Test != test {
			continue
		}
		switch {
		case test == "" && (e.Action == "pass" || e.Action == "fail"):
			ended = true
		case test == "":
		case e.Action == "pass":
			r.Passed++
		case e.Action == "skip":
			r.Skipped++
		case e.Action == "fail":
			r.Failed++
			fmt.Fprint(os.Stderr, strings.Join(said[test], ""))
		}
	}
	return ended && r.Passed+r.Failed+r.Skipped > 0
}
