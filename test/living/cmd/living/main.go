// Command living is every controller that lives in tests: its first argument says which.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/castai/kubectl-castai/test/living/controllers"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New("which controller?")
	}
	program, ok := controllers.Programs()[args[0]]
	if !ok {
		return fmt.Errorf("there is no controller %q", args[0])
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return program(ctx)
}
