package plugin

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"k8s.io/kubectl/pkg/util/term"

	"github.com/castai/kubectl-castai/internal/printer"
)

// confirm asks the user to type word before anything is changed. Without a
// terminal nobody can be asked, so that --yes must have been given.
func (r *Root) confirm(yes bool, question, word string) error {
	if yes {
		return nil
	}
	if !(term.TTY{In: r.In}).IsTerminalIn() {
		return refused(errors.New("without a terminal nobody can be asked: review the plan with --dry-run=client, then pass --yes"))
	}
	if _, err := fmt.Fprintf(r.ErrOut, "\n%s\nType %s to go on: ", printer.Escape(question), printer.Escape(word)); err != nil {
		return err
	}
	answer, err := bufio.NewReader(r.In).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if strings.TrimSpace(answer) != word {
		return refused(fmt.Errorf("%q is not %q: nothing was changed", strings.TrimSpace(answer), word))
	}
	return nil
}
