package controllers

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

const (
	certDir     = "/tmp/k8s-webhook-server/serving-certs"
	certSecret  = "castware-operator-certs"
	certService = "castware-operator-webhook-service"
	// How often the certificate is written into the webhooks again.
	inject = time.Second
)

// certificates keeps the certificate of the webhooks in their configurations.
type certificates struct {
	client.Client
	ca []byte
}

// rotate waits until the certificate is in the pod. Whoever finds none makes one and returns nil: the operator ends,
// and
// restarts once at its first start.
func rotate(ctx context.Context) (*certificates, error) {
	config, err := ctrl.GetConfig()
	if err != nil {
		return nil, err
	}
	c, err := client.New(config, client.Options{})
	if err != nil {
		return nil, err
	}
	var secret corev1.Secret
	if err := c.Get(ctx, client.ObjectKey{Namespace: namespace(), Name: certSecret}, &secret); err != nil {
		return nil, err
	}
	if len(secret.Data[corev1.TLSCertKey]) == 0 {
		if secret.Data, err = issue(certService + "." + namespace() + ".svc"); err != nil {
			return nil, err
		}
		if err := c.Update(ctx, &secret); err != nil {
			return nil, err // another replica was faster
		}
		return nil, nil
	}
	ready, cancel := context.WithCancel(ctx)
	every(ready, 100*time.Millisecond, func() {
		content, err := os.ReadFile(filepath.Join(file(certDir), corev1.TLSCertKey))
		if err == nil && bytes.Equal(content, secret.Data[corev1.TLSCertKey]) {
			cancel()
		}
	})
	cancel()
	return &certificates{c, secret.Data[corev1.ServiceAccountRootCAKey]}, ctx.Err()
}

// Start writes the authority into the webhooks, again and again.
func (c *certificates) Start(ctx context.Context) error {
	every(ctx, inject, func() {
		if err := c.inject(ctx); err != nil {
			log.Log.Error(err, "inject the certificate")
		}
	})
	return nil
}

// NeedLeaderElection lets every replica do it.
func (c *certificates) NeedLeaderElection() bool { return false }

func (c *certificates) inject(ctx context.Context) error {
	var mutating admissionregistrationv1.MutatingWebhookConfiguration
	key := client.ObjectKey{Name: "castware-operator-mutating-webhook-configuration"}
	if err := c.Get(ctx, key, &mutating); client.IgnoreNotFound(err) != nil {
		return err
	}
	changed := false
	for i := range mutating.Webhooks {
		changed = c.set(&mutating.Webhooks[i].ClientConfig) || changed
	}
	if changed {
		if err := c.Update(ctx, &mutating); err != nil {
			return err
		}
	}
	var validating admissionregistrationv1.ValidatingWebhookConfiguration
	key.Name = "castware-operator-validating-webhook-configuration"
	if err := c.Get(ctx, key, &validating); client.IgnoreNotFound(err) != nil {
		return err
	}
	changed = false
	for i := range validating.Webhooks {
		changed = c.set(&validating.Webhooks[i].ClientConfig) || changed
	}
	if changed {
		return c.Update(ctx, &validating)
	}
	return nil
}

func (c *certificates) set(config *admissionregistrationv1.WebhookClientConfig) bool {
	if bytes.Equal(config.CABundle, c.ca) {
		return false
	}
	config.CABundle = c.ca
	return true
}

// issue returns a certificate that signs itself.
func issue(host string) (map[string][]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), BasicConstraintsValid: true,
		IsCA:        true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return map[string][]byte{
		corev1.TLSCertKey:              cert,
		corev1.TLSPrivateKeyKey:        pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: secret}),
		corev1.ServiceAccountRootCAKey: cert,
	}, nil
}
