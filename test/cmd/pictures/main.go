// Command pictures runs the plugin on a terminal, against a cluster with Cast
// AI's agent, and draws what it shows. Usage: pictures BIN DIR, the folder with
// the plugin and the one for the pictures.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/castai/kubectl-castai/test/compare"
	"github.com/castai/kubectl-castai/test/driver"
	"github.com/castai/kubectl-castai/test/fixtures"
	"github.com/castai/kubectl-castai/test/terminal"
)

// Size of the terminal, and how long a command may take.
const (
	columns = 110
	rows    = 200
	timeout = 3 * time.Minute
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "pictures:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) (err error) {
	if len(args) != 2 {
		return errors.New("name the folder with the plugin and the one for the pictures")
	}
	cluster, err := driver.Start(ctx, driver.Options{Bin: args[0], ContextName: "demo"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cluster.Stop()) }()
	if err := fixtures.Install(ctx, cluster.Config, fixtures.Agent); err != nil {
		return err
	}
	if _, err := compare.Settled(ctx, cluster.Config); err != nil {
		return err
	}
	if err := cluster.Stick(ctx, "orders", "batch"); err != nil {
		return err
	}
	user := cluster.Admin.With("TERM=xterm-256color", "NO_COLOR=")
	for _, picture := range []struct{ name, command string }{
		{"status", "status"},
		{"unstick-ns", "unstick-ns orders --yes --no-backup --patience=2s"},
		{"offboard", "offboard --yes --no-backup --clean-up-timeout=5s --settle=2s"},
	} {
		if err := draw(ctx, user, picture.command, filepath.Join(args[1], picture.name+".svg")); err != nil {
			return err
		}
	}
	return nil
}

// draw runs a command and writes a picture of the terminal at its end.
func draw(ctx context.Context, user *driver.User, command, path string) error {
	cmd := user.Command(ctx, strings.Fields(command)...)
	screen, err := terminal.Start(cmd, columns, rows, "$ kubectl castai "+command)
	if err != nil {
		return err
	}
	if err := screen.Ended(timeout); err != nil {
		return err
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("kubectl castai %s: %w:\n%s", command, err, screen.Text())
	}
	return os.WriteFile(path, screen.SVG(), 0o600) //nolint:gosec // the caller's folder
}
