package castai

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
)

// DefaultURL is the API of the US region.
const DefaultURL = "https://api.cast.ai"

// ParseURL returns the address of an API as a user gives it, without a slash at
// its end. A key goes over TLS only, except to this machine.
func ParseURL(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil {
		return "", errors.New("it is no URL")
	}
	switch {
	case u.Host == "" || u.Opaque != "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return "", errors.New("it must look like https://api.eu.cast.ai")
	case u.Scheme == "https", u.Scheme == "http" && loopback(u.Hostname()):
		return strings.TrimRight(u.String(), "/"), nil
	}
	return "", errors.New("it must begin with https://, so that nobody can read the key on its way")
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// RegionURL returns the API that a cluster's own configuration names, the
// default one if it names none. The configuration may have been written by
// anybody who can write to the cluster, so that it can't send a key to any
// other address than Cast AI's own: that takes the user's word.
func RegionURL(configured string) (string, error) {
	if configured = strings.TrimSpace(configured); configured == "" {
		return DefaultURL, nil
	}
	if strings.ContainsFunc(configured, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("the cluster's configuration names the API %q, which has characters that no address of Cast AI's has: name the right one with --api-url", configured)
	}
	if !strings.Contains(configured, "://") {
		configured = "https://" + configured
	}
	parsed, err := ParseURL(configured)
	if err != nil {
		return "", fmt.Errorf("the cluster's configuration names the API %s, which can't be used: %w: name the right one with --api-url", configured, err)
	}
	u, err := url.Parse(parsed)
	if err != nil {
		return "", err
	}
	host := u.Hostname()
	if u.Scheme == "https" && (host == "api.cast.ai" || strings.HasPrefix(host, "api.") &&
		strings.HasSuffix(host, ".cast.ai")) {
		return "https://" + u.Host, nil
	}
	return "", fmt.Errorf("the cluster's configuration names the API %s, which is not one of Cast AI's own addresses: if the key may be sent there, name it with --api-url", parsed)
}
