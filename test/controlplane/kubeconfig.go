package controlplane

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// kubeconfig is the part of the file format that is needed here. It is written
// as JSON, which is YAML too.
type kubeconfig struct {
	APIVersion     string         `json:"apiVersion"`
	Kind           string         `json:"kind"`
	CurrentContext string         `json:"current-context"`
	Clusters       []namedCluster `json:"clusters"`
	Users          []namedUser    `json:"users"`
	Contexts       []namedContext `json:"contexts"`
}

type namedCluster struct {
	Name    string `json:"name"`
	Cluster struct {
		Server string `json:"server"`
		CA     []byte `json:"certificate-authority-data"`
	} `json:"cluster"`
}

type namedUser struct {
	Name string      `json:"name"`
	User credentials `json:"user"`
}

type namedContext struct {
	Name    string `json:"name"`
	Context struct {
		Cluster string `json:"cluster"`
		User    string `json:"user"`
	} `json:"context"`
}

type credentials struct {
	Cert  []byte `json:"client-certificate-data,omitempty"`
	Key   []byte `json:"client-key-data,omitempty"`
	Token string `json:"token,omitempty"`
}

// User returns the path of a kubeconfig for a user of that name and groups, who
// has the rights that RBAC gives to them: none, to begin with.
func (c *Cluster) User(name string, groups ...string) (string, error) {
	file := url.PathEscape(strings.Join(append([]string{name}, groups...), ",")) + ".kubeconfig"
	path := filepath.Join(c.state.Dir, "users", file)
	return path, c.writeUser(path, name, groups)
}

// TokenUser returns the path of a kubeconfig for one of the users of
// Options.Tokens, who presents a bearer token.
func (c *Cluster) TokenUser(name string) (string, error) {
	f, err := os.Open(c.tokenFile())
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("there is no token for user %q: the cluster was started without Options.Tokens", name)
	}
	if err != nil {
		return "", fmt.Errorf("read the tokens: %w", err)
	}
	defer func() { _ = f.Close() }()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return "", fmt.Errorf("read the tokens: %w", err)
	}
	for _, row := range rows {
		if row[1] == name {
			path := filepath.Join(c.state.Dir, "users", url.PathEscape(name)+".token.kubeconfig")
			return path, c.writeKubeconfig(path, name, credentials{Token: row[0]})
		}
	}
	return "", fmt.Errorf("there is no token for user %q: add it to Options.Tokens", name)
}

// writeUser writes a kubeconfig with a fresh client certificate.
func (c *Cluster) writeUser(path, user string, groups []string) error {
	cert, key, err := c.pki().issue("ca", user, groups, false)
	if err != nil {
		return err
	}
	return c.writeKubeconfig(path, user, credentials{Cert: cert, Key: key})
}

func (c *Cluster) writeKubeconfig(path, user string, creds credentials) error {
	ca, err := os.ReadFile(c.pki().cert("ca"))
	if err != nil {
		return fmt.Errorf("read the certificate authority: %w", err)
	}
	name := c.state.ContextName
	config := kubeconfig{
		APIVersion:     "v1",
		Kind:           "Config",
		CurrentContext: name,
		Clusters:       make([]namedCluster, 1),
		Users:          []namedUser{{Name: user, User: creds}},
		Contexts:       make([]namedContext, 1),
	}
	config.Clusters[0].Name = name
	config.Clusters[0].Cluster.Server = c.URL()
	config.Clusters[0].Cluster.CA = ca
	config.Contexts[0].Name = name
	config.Contexts[0].Context.Cluster = name
	config.Contexts[0].Context.User = user
	return writeJSON(path, config)
}

// writeJSON replaces the file in one step, readable for its owner only.
func writeJSON(path string, value any) error {
	content, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	part, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = part.Write(append(content, '\n'))
	if err = errors.Join(err, part.Close()); err == nil {
		err = os.Rename(part.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(part.Name()))
	}
	return nil
}
