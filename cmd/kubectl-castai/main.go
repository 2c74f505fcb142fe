// Command kubectl-castai is a kubectl plugin: kubectl castai.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"k8s.io/cli-runtime/pkg/genericiooptions"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // every way of logging in that kubectl has

	"github.com/castai/kubectl-castai/internal/printer"
	"github.com/castai/kubectl-castai/pkg/plugin"
)

// Stamped by the linker.
var (
	version = "dev"
	commit  = "unknown"
	date    = "unknown"
)

// garbage is how much the heap may grow between collections, in percent of what
// is in use. Go's default of 100 would take half as much memory again beside the
// snapshot of a large cluster, and saves little (docs/benchmarks-notes.md).
const garbage = 50

func main() {
	debug.SetGCPercent(garbage)
	os.Exit(run())
}

func run() int {
	ctx, stop := interruptible()
	defer stop()
	name := plugin.DisplayName(os.Args[0])
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	if plugin.Completing(os.Args) {
		streams.ErrOut = io.Discard
	}
	cmd := plugin.New(name, plugin.Version{Version: version, Commit: commit, Date: date}, streams)
	cmd.SetArgs(plugin.Arguments(os.Args))
	err := cmd.ExecuteContext(ctx)
	err = plugin.Ended(ctx, err)
	if err != nil {
		_, _ = fmt.Fprintln(streams.ErrOut, printer.Escape(plugin.ErrorText(name, err))) // where else to say it?
	}
	return plugin.ExitCode(err)
}

// interruptible returns a context that the first signal ends; the second one
// ends the process.
func interruptible() (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go interrupts(signals, func() { cancel(plugin.ErrInterrupted) }, func() {
		_, _ = fmt.Fprintln(os.Stderr, "\ninterrupted twice: left at once, without waiting for answers to what was sent")
		os.Exit(plugin.ExitInterrupted)
	})
	return ctx, func() { signal.Stop(signals); cancel(nil) }
}

// twice is how long after the first signal a second one is a new one: timeout(1) and a
// terminal that closes send theirs to the process and to its group, within milliseconds.
const twice = 2 * time.Second

// interrupts ends the work at the first signal, and the process at the second one.
func interrupts(signals <-chan os.Signal, end, leave func()) {
	<-signals
	first := time.Now()
	end()
	for range signals {
		if time.Since(first) > twice {
			leave()
			return
		}
	}
}
