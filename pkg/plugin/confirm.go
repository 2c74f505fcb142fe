package plugin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"k8s.io/kubectl/pkg/util/term"

	"github.com/castai/kubectl-castai/internal/printer"
)

// confirm asks the user to type word before anything is changed. Without a
// terminal nobody can be asked, so that --yes must have been given. The error is
// a refusal, or the cause of ctx if that ends first: an interrupt, say.
func (r *Root) confirm(ctx context.Context, yes bool, question, word string) error {
	if yes {
		return nil
	}
	if !(term.TTY{In: r.In}).IsTerminalIn() {
		return refused(errors.New("without a terminal nobody can be asked: review the plan with --dry-run=client, then pass --yes"))
	}
	return ask(ctx, r.In, r.ErrOut, question, word)
}

// ask shows a question and waits for the answer or for the end of ctx. What
// reads the answer goes on after an interrupt, until the process ends.
func ask(ctx context.Context, in io.Reader, out io.Writer, question, word string) error {
	short := shortName(word)
	text := printer.NewText(out)
	text.Message("")
	text.Message(question)
	if err := text.Err(); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(out, "Type %s to go on: ", printer.Escape(short)); err != nil {
		return err
	}
	type line struct {
		text string
		err  error
	}
	answers := make(chan line, 1)
	go func() {
		text, err := bufio.NewReader(in).ReadString('\n')
		answers <- line{strings.TrimSpace(text), err}
	}()
	var answer line
	select {
	case <-ctx.Done():
	case answer = <-answers:
	}
	switch {
	case ctx.Err() != nil: // although an answer may be there, too
		_, err := fmt.Fprintln(out) // below the question
		return errors.Join(fmt.Errorf("%w at the question: nothing was changed", context.Cause(ctx)), err)
	case answer.err != nil && !errors.Is(answer.err, io.EOF):
		return answer.err
	case answer.text != short && answer.text != word:
		return refused(fmt.Errorf("%q is not %q: nothing was changed", answer.text, short))
	}
	return nil
}

// shortName is what a person types for a cluster: the last part of the names
// that EKS gives (arn:aws:eks:eu-west-1:1234:cluster/prod). All other words are typed
// as they are: of a finalizer, the last part says little.
func shortName(word string) string {
	if i := strings.LastIndex(word, "/"); strings.HasPrefix(word, "arn:") && i >= 0 && i < len(word)-1 {
		return word[i+1:]
	}
	return word
}
