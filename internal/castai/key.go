package castai

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// The environment variables that hold a key: the plugin's own, and the one of
// Cast AI's Terraform provider (provider.go) and its old CLI.
const (
	EnvKey   = "CASTAI_API_KEY"
	EnvToken = "CASTAI_API_TOKEN"
)

// largestKey bounds what is read as a key. Real ones have less than 200 bytes.
const largestKey = 8 << 10

// Key is a key of the API. It shows where it is from, and never itself.
type Key struct {
	secret string
	source string
}

// String says where the key is from.
func (k Key) String() string { return "the key from " + k.source }

// GoString is String: %#v shows no key either.
func (k Key) GoString() string { return k.String() }

// MarshalText is String: no document shows the key.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// IsZero tells whether there is no key.
func (k Key) IsZero() bool { return k.secret == "" }

// FindKey returns the key in a file, in stdin if the file is "-", or, without a
// file, in the environment; the zero key if there is none. Its errors do not
// show what was read.
func FindKey(file string, stdin io.Reader, lookup func(string) (string, bool)) (Key, error) {
	switch file {
	case "":
		for _, name := range []string{EnvKey, EnvToken} {
			if text, ok := lookup(name); ok && strings.TrimSpace(text) != "" {
				return newKey(text, name)
			}
		}
		return Key{}, nil
	case "-":
		return readKey(stdin, "standard input")
	}
	f, err := os.Open(file)
	if err != nil {
		return Key{}, fmt.Errorf("the API key can't be read: %w", err)
	}
	key, err := readKey(f, file)
	return key, errors.Join(err, f.Close())
}

func readKey(r io.Reader, source string) (Key, error) {
	raw, err := io.ReadAll(io.LimitReader(r, largestKey+1))
	if err != nil {
		return Key{}, fmt.Errorf("the API key can't be read: %w", err)
	}
	if len(raw) > largestKey {
		return Key{}, fmt.Errorf("%s holds more than %d bytes: that is no API key", source, largestKey)
	}
	if strings.TrimSpace(string(raw)) == "" {
		return Key{}, fmt.Errorf("%s is empty: an API key is expected there", source)
	}
	return newKey(string(raw), source)
}

// newKey makes sure that the text can be a header.
func newKey(text, source string) (Key, error) {
	secret := strings.TrimSpace(text)
	if strings.ContainsFunc(secret, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return Key{}, errors.New(source + " does not hold an API key: a key is one line of letters, digits and signs")
	}
	return Key{secret: secret, source: source}, nil
}

// redact takes the key out of a text that somebody else wrote.
func (k Key) redact(text []byte) []byte {
	if k.IsZero() {
		return text
	}
	return []byte(strings.ReplaceAll(string(text), k.secret, "(the key)"))
}

// Reveal returns the key itself, for whoever has to store it.
func (k Key) Reveal() string { return k.secret }
