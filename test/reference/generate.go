// Package reference writes the command reference from the commands themselves.
package reference

import (
	"bytes"
	"io"
	"maps"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/castai/kubectl-castai/pkg/plugin"
)

// Folders of what is generated, in docs/.
const (
	Pages    = "reference"
	ManPages = "man"
)

// Generate returns the content of every file, by its path in docs/.
func Generate() (map[string][]byte, error) {
	root := plugin.New("kubectl castai", plugin.Version{},
		genericiooptions.IOStreams{In: strings.NewReader(""), Out: io.Discard, ErrOut: io.Discard})
	root.DisableAutoGenTag = true
	root.InitDefaultHelpCmd()
	// It is made of the home of whoever asks.
	root.PersistentFlags().Lookup("cache-dir").DefValue = "$HOME/.kube/cache"
	return pages(root)
}

// pages returns those of a command and of all below it.
func pages(cmd *cobra.Command) (map[string][]byte, error) {
	name := strings.ReplaceAll(cmd.CommandPath(), " ", "_")
	var page, man bytes.Buffer
	if err := doc.GenMarkdown(cmd, &page); err != nil {
		return nil, err
	}
	header := &doc.GenManHeader{Section: "1", Source: "kubectl castai", Manual: "kubectl plugins", Date: &time.Time{}}
	if err := doc.GenMan(cmd, header, &man); err != nil {
		return nil, err
	}
	undated := bytes.Replace(man.Bytes(), []byte(`"Jan 0001"`), []byte(`""`), 1) // it says when it was generated
	files := map[string][]byte{
		Pages + "/" + name + ".md":                                 page.Bytes(),
		ManPages + "/" + strings.ReplaceAll(name, "_", "-") + ".1": undated,
	}
	for _, sub := range cmd.Commands() {
		if !sub.IsAvailableCommand() || sub.IsAdditionalHelpTopicCommand() || sub.Name() == "help" {
			continue
		}
		below, err := pages(sub)
		if err != nil {
			return nil, err
		}
		maps.Copy(files, below)
	}
	return files, nil
}
