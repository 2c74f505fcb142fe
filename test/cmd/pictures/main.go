// Command pictures runs the plugin on a terminal, against a cluster with Cast
// AI's agent, and draws the offboarding that README.md shows. Usage: pictures [-text]
// BIN DIR, the folder with the plugin and the one for the picture; with -text it writes
// all that docs/first-run.md shows, as text.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/castai/kubectl-castai/test/firstrun"
)

func main() {
	text := flag.Bool("text", false, "write text")
	columns := flag.Int("columns", 110, "`width` of the terminal")
	flag.Parse()
	if err := run(context.Background(), flag.Args(), *text, *columns); err != nil {
		fmt.Fprintln(os.Stderr, "pictures:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, text bool, columns int) error {
	if len(args) != 2 {
		return errors.New("name the folder with the plugin and the one for the pictures")
	}
	steps, err := firstrun.Run(ctx, args[0], columns)
	if err != nil {
		return err
	}
	for _, s := range steps {
		name, content := s.Name+".txt", []byte(s.Screen.Text()+"\n")
		switch {
		case text:
		case s.Name == "offboard":
			name, content = s.Name+".svg", s.Screen.SVG()
		default:
			continue
		}
		if err := os.WriteFile(filepath.Join(args[1], name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}
