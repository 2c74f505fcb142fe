package kubelet

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// probe calls a probe of a container for as long as ctx lasts, and verdict with every change between passed and failed.
func (s *sandbox) probe(ctx context.Context, c *corev1.Container, p *corev1.Probe,
	verdict func(passed bool, err error)) {
	timer := time.NewTimer(time.Duration(p.InitialDelaySeconds) * time.Second)
	defer timer.Stop()
	count, was, told := 0, false, false
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		timer.Reset(time.Duration(max(p.PeriodSeconds, 1)) * time.Second)
		err := s.ask(ctx, c, p)
		if ctx.Err() != nil {
			return
		}
		passed := err == nil
		if passed != was {
			count, was, told = 0, passed, false
		}
		count++
		limit := int(p.FailureThreshold)
		if passed {
			limit = int(p.SuccessThreshold)
		}
		if count >= limit && !told {
			told = true
			verdict(passed, err)
		}
	}
}

// ask calls a probe once.
func (s *sandbox) ask(ctx context.Context, c *corev1.Container, p *corev1.Probe) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(max(p.TimeoutSeconds, 1))*time.Second)
	defer cancel()
	switch {
	case p.HTTPGet != nil:
		return s.get(ctx, c, p.HTTPGet)
	case p.TCPSocket != nil:
		port, err := portOf(c, p.TCPSocket.Port)
		if err != nil {
			return err
		}
		conn, err := s.dial(ctx, port)
		if err != nil {
			return err
		}
		return conn.Close()
	default:
		return errUnsupportedProbe
	}
}

var errUnsupportedProbe = errors.New("the kubelet for processes has no probes of this kind")

// get sends a request to the pod, as a probe or a hook does.
func (s *sandbox) get(ctx context.Context, c *corev1.Container, action *corev1.HTTPGetAction) error {
	port, err := portOf(c, action.Port)
	if err != nil {
		return err
	}
	scheme := "http"
	if action.Scheme == corev1.URISchemeHTTPS {
		scheme = "https"
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+net.JoinHostPort(s.address, port)+
		action.Path, nil)
	if err != nil {
		return err
	}
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return s.dial(ctx, port) },
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // as a kubelet does
	}
	answer, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	if err := answer.Body.Close(); err != nil {
		return err
	}
	if answer.StatusCode < 200 || answer.StatusCode >= 400 {
		return fmt.Errorf("HTTP probe failed with statuscode: %d", answer.StatusCode)
	}
	return nil
}

// portOf returns the number of a port that may be named.
func portOf(c *corev1.Container, port intstr.IntOrString) (string, error) {
	if port.Type == intstr.Int {
		return strconv.Itoa(port.IntValue()), nil
	}
	for _, p := range c.Ports {
		if p.Name == port.StrVal {
			return strconv.Itoa(int(p.ContainerPort)), nil
		}
	}
	return "", fmt.Errorf("the container has no port %q", port.StrVal)
}
