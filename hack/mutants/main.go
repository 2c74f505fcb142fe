// Command mutants breaks the safety rules of this repository, one at a time, and
// expects a unit test to go red for each.
//
// A mutant is an entry in mutants.yaml: a file, a text that is in it once, and
// what it becomes. The file itself is not touched: go test -overlay compiles the
// other text in its place.
package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"
)

//go:embed mutants.yaml
var list []byte

// mutant is one way to break a rule.
type mutant struct {
	// Name is unique, Rule what it breaks, in words.
	Name string `json:"name"`
	Rule string `json:"rule"`
	// File is relative to the root of the repository; Old is in it once.
	File string `json:"file"`
	Old  string `json:"old"`
	New  string `json:"new"`
	// Tests are the packages of which a test must go red, by default that of the
	// file; Run limits them, as go test -run does.
	Tests []string `json:"tests,omitempty"`
	Run   string   `json:"run,omitempty"`
}

func main() {
	root := flag.String("root", ".", "the repository")
	sample := flag.Int("sample", 0, "how many to try, chosen by the seed; 0 tries all")
	seed := flag.Uint64("seed", 1, "the seed of the sample")
	only := flag.String("only", "", "try those whose names contain this")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Stdout, *root, *only, *sample, *seed)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, root, only string, sample int, seed uint64) error {
	mutants, err := load(root)
	if err != nil {
		return err
	}
	mutants = slices.DeleteFunc(mutants, func(m mutant) bool { return !strings.Contains(m.Name, only) })
	if sample > 0 && sample < len(mutants) {
		random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // the choice of a sample
		random.Shuffle(len(mutants), func(i, j int) { mutants[i], mutants[j] = mutants[j], mutants[i] })
		mutants = mutants[:sample]
	}
	if len(mutants) == 0 {
		return errors.New("there is no such mutant")
	}
	survived := 0
	var broken []error
	for _, m := range mutants {
		began := time.Now()
		killed, err := m.try(ctx, root)
		word := "killed  "
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			broken = append(broken, fmt.Errorf("%s: %w", m.Name, err))
			word = "BROKEN  "
		case !killed:
			survived++
			word = "SURVIVED"
		}
		_, _ = fmt.Fprintf(out, "%s %s (%s) in %s\n", word, m.Name, m.Rule, time.Since(began).Round(100*time.Millisecond))
	}
	_, _ = fmt.Fprintf(out, "%d of %d mutants killed\n", len(mutants)-survived-len(broken), len(mutants))
	if survived > 0 {
		broken = append(broken, fmt.Errorf("no unit test guards %d rules", survived))
	}
	return errors.Join(broken...)
}

// load reads the list, and refuses one that does not fit the files any more.
func load(root string) ([]mutant, error) {
	var mutants []mutant
	if err := yaml.UnmarshalStrict(list, &mutants); err != nil {
		return nil, fmt.Errorf("mutants.yaml: %w", err)
	}
	names := map[string]bool{}
	for _, m := range mutants {
		content, err := os.ReadFile(filepath.Join(root, m.File))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.Name, err)
		}
		switch n := strings.Count(string(content), m.Old); {
		case names[m.Name] || m.Name == "" || m.Rule == "":
			return nil, fmt.Errorf("%s: a mutant needs a rule, and a name of its own", m.Name)
		case n != 1 || m.Old == m.New:
			return nil, fmt.Errorf("%s: %s has the text %q %d times, not once: adapt the mutant to the code", m.Name, m.File,
				m.Old, n)
		}
		names[m.Name] = true
	}
	return mutants, nil
}

// try runs the tests with the mutant and tells whether one went red. A mutant
// that does not compile is an error.
func (m mutant) try(ctx context.Context, root string) (killed bool, err error) {
	dir, err := os.MkdirTemp("", "mutant")
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	overlay, err := m.overlay(root, dir)
	if err != nil {
		return false, err
	}
	tests := m.Tests
	if len(tests) == 0 {
		tests = []string{"./" + filepath.Dir(m.File)}
	}
	args := []string{"test", "-overlay=" + overlay, "-vet=off", "-failfast", "-timeout=3m", "-run=" + m.Run}
	cmd := exec.CommandContext(ctx, "go", append(args, tests...)...)
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch text := string(out); {
	case err == nil && strings.Contains(text, "no tests to run"):
		return false, fmt.Errorf("-run %s matches no test:\n%s", m.Run, text)
	case err == nil:
		return false, nil
	case !errors.As(err, &exit), ctx.Err() != nil, strings.Contains(text, "[build failed]"), strings.Contains(text,
		"[setup failed]"):
		return false, fmt.Errorf("%w:\n%s", err, text)
	}
	return true, nil
}

// overlay writes the mutated file and what go test -overlay wants, into dir.
func (m mutant) overlay(root, dir string) (string, error) {
	file, err := filepath.Abs(filepath.Join(root, m.File))
	if err != nil {
		return "", err
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	mutated := filepath.Join(dir, "mutant.txt")
	if err := os.WriteFile(mutated, []byte(strings.Replace(string(content), m.Old, m.New, 1)), 0o600); err != nil {
		return "", err
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {file: mutated}})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, overlay, 0o600)
}
