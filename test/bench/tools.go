package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/castai/kubectl-castai/test/bench/page"
	"github.com/castai/kubectl-castai/test/controlplane"
)

// tools are the programs that are measured, and the one that measures.
type tools struct {
	dir      string // removed at the end
	measured string
	castai   string
	kubectl  string
	root     string // of the repository
	// kubernetes and version are what kubectl and the plugin say of themselves.
	kubernetes, version string
}

// newTools finds the programs and builds the one that measures.
func newTools(ctx context.Context, root, bin string) (t tools, err error) {
	binaries, err := controlplane.Binaries(ctx)
	if err != nil {
		return t, err
	}
	t = tools{kubectl: binaries.Kubectl, root: root}
	if t.castai, err = filepath.Abs(filepath.Join(bin, "kubectl-castai")); err != nil {
		return t, err
	}
	if _, err := exec.LookPath(t.castai); err != nil {
		return t, fmt.Errorf("build the plugin first, with make build: %w", err)
	}
	if t.dir, err = os.MkdirTemp("", "bench-"); err != nil {
		return t, err
	}
	t.measured = filepath.Join(t.dir, "measured")
	if _, err := output(ctx, root, "go", "-C", "test", "build", "-o", t.measured, "./bench/measured"); err != nil {
		return t, errors.Join(err, t.close())
	}
	version, err := output(ctx, root, t.castai, "version", "-o", "json")
	if err != nil {
		return t, errors.Join(err, t.close())
	}
	client, err := output(ctx, root, t.kubectl, "version", "--client", "-o", "json")
	if err != nil {
		return t, errors.Join(err, t.close())
	}
	var said struct {
		Version       string `json:"version"`
		ClientVersion struct {
			GitVersion string `json:"gitVersion"`
		} `json:"clientVersion"`
	}
	if err := errors.Join(json.Unmarshal([]byte(version), &said), json.Unmarshal([]byte(client), &said)); err != nil {
		return t, errors.Join(err, t.close())
	}
	t.version, t.kubernetes = said.Version, said.ClientVersion.GitVersion
	return t, nil
}

func (t tools) close() error { return os.RemoveAll(t.dir) }

// output runs a command and returns what it prints; its error holds what it complains about.
func output(ctx context.Context, dir string, command ...string) (string, error) {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...) //nolint:gosec // the purpose of this function
	cmd.Dir = dir
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", filepath.Base(command[0]), err, strings.TrimSpace(stderr.String()))
	}
	return string(out), nil
}

// run measures a command in a folder. See server.run.
func (t tools) run(ctx context.Context, env []string, dir string, stdout *strings.Builder,
	command ...string) (page.Sample, error) {
	report := filepath.Join(t.dir, "usage.json")
	if err := os.RemoveAll(report); err != nil {
		return page.Sample{}, err
	}
	args := append([]string{report}, command...)
	cmd := exec.CommandContext(ctx, t.measured, args...) //nolint:gosec // the purpose of this function
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.Env, cmd.Dir = env, dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if stdout != nil {
		cmd.Stdout = stdout
	}
	runErr := cmd.Run()
	if ctx.Err() != nil {
		return page.Sample{}, ctx.Err()
	}
	var sample page.Sample
	data, err := os.ReadFile(report)
	if err == nil {
		err = json.Unmarshal(data, &sample)
	}
	if err != nil {
		return sample, errors.Join(runErr, err)
	}
	if runErr != nil {
		return sample, fmt.Errorf("%s %s: %w: %s", filepath.Base(command[0]), strings.Join(command[1:], " "), runErr,
			end(stderr.String()))
	}
	return sample, nil
}

// end returns the last part of an output.
func end(text string) string {
	const most = 2000
	if text = strings.TrimSpace(text); len(text) > most {
		text = "... " + text[len(text)-most:]
	}
	return text
}
