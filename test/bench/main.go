// Command bench measures how fast the plugin is, side by side with the documented
// commands, with kubectl, and with the least that the API server can be asked for
// the same end. It writes docs/benchmarks.md, and the figures beside it. Run it
// with make bench.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/castai/kubectl-castai/test/bench/page"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(os.Stderr, "\ninterrupted; everything that was started is stopped")
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench is one benchmark while it runs.
type bench struct {
	tools   tools
	runs    int
	limit   time.Duration // of a documented command that waits
	foreign []int         // sizes of the inventory
	stuckIn []int         // sizes of unstick-ns
	run     page.Run
	log     io.Writer
}

// measure is how each benchmark of a page is measured.
var measure = map[string]func(*bench, context.Context) error{
	page.Offboard:  (*bench).calm,
	page.Stuck:     (*bench).stuck,
	page.Living:    (*bench).alive,
	page.Window:    (*bench).window,
	page.Inventory: (*bench).inventory,
	page.Unstick:   (*bench).unstick,
	page.Restore:   (*bench).restore,
	page.Planning:  (*bench).planning,
	page.Start:     (*bench).start,
}

func run(ctx context.Context, args []string, log io.Writer) (err error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	runs := flags.Int("runs", 3, "`rounds` of each benchmark")
	foreign := flags.String("sizes", "1000,5000,20000,50000", "foreign `objects` beside which to take inventories")
	stuckIn := flags.String("stuck", "1000,10000", "`objects` with finalizers in a namespace to free")
	limit := flags.Duration("limit", time.Minute, "how long to wait for a documented command that does not end")
	only := flags.String("only", "",
		"`benchmarks` to measure again, by name; the others keep their figures; none: only write the page")
	out := flags.String("out", "../docs", "`folder` of benchmarks.md")
	root := flags.String("root", "..", "`folder` of the repository, built with make build")
	if err := flags.Parse(args); err != nil {
		return err
	}
	names, err := selected(*only)
	if err != nil {
		return err
	}
	b := bench{runs: *runs, limit: *limit, log: log}
	if b.foreign, err = sizes(*foreign); err != nil {
		return err
	}
	if b.stuckIn, err = sizes(*stuckIn); err != nil {
		return err
	}
	figures := filepath.Join(*out, "benchmarks.json")
	p, err := page.Read(figures)
	if err != nil {
		return err
	}
	if len(names) > 0 {
		abs, err := filepath.Abs(*root)
		if err != nil {
			return err
		}
		if b.tools, err = newTools(ctx, abs, filepath.Join(abs, "bin")); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, b.tools.close()) }()
	}
	for _, name := range names {
		b.say("%s", name)
		b.run = page.Run{Benchmark: name, Conditions: conditions(b.tools, b.limit)}
		if err := measure[name](&b, ctx); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		b.run.Conditions.LoadAfter = load()
		p.Put(b.run)
		// After each, so that what was measured is kept if the next one fails.
		if err := p.Write(*out); err != nil {
			return err
		}
	}
	return p.Write(*out)
}

// selected reads the flag -only: all benchmarks if it is empty.
func selected(only string) ([]string, error) {
	if only == "none" {
		return nil, nil
	}
	var names []string
	for _, b := range page.Benchmarks() {
		names = append(names, b.Name)
	}
	if only == "" {
		return names, nil
	}
	wanted := strings.Split(only, ",")
	for _, name := range wanted {
		if measure[name] == nil {
			return nil, fmt.Errorf("there is no benchmark %q: there are %s", name, strings.Join(names, ", "))
		}
	}
	return wanted, nil
}

// sizes reads a list of numbers.
func sizes(text string) ([]int, error) {
	var out []int
	for field := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(field)
		if err != nil || n <= 0 {
			return nil, fmt.Errorf("%q is no number of objects", field)
		}
		out = append(out, n)
	}
	return out, nil
}

// say tells what is going on.
func (b *bench) say(format string, args ...any) {
	_, _ = fmt.Fprintf(b.log, time.Now().Format("15:04:05 ")+format+"\n", args...)
}
