package controlplane

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// pki is the folder with the certificates and keys of a cluster.
type pki string

func (p pki) cert(name string) string { return filepath.Join(string(p), name+".crt") }
func (p pki) key(name string) string  { return filepath.Join(string(p), name+".key") }

// create writes everything that the components need.
func (p pki) create() error {
	if err := os.MkdirAll(string(p), 0o700); err != nil {
		return fmt.Errorf("create the folder for certificates: %w", err)
	}
	if err := p.newAuthority("ca"); err != nil {
		return err
	}
	if err := p.newAuthority("front-proxy-ca"); err != nil {
		return err
	}
	for _, c := range []struct{ name, ca, cn, org string }{
		{"apiserver", "ca", "kube-apiserver", ""},
		{"apiserver-kubelet-client", "ca", "kube-apiserver-kubelet-client", "system:masters"},
		{"front-proxy-client", "front-proxy-ca", "front-proxy-client", ""},
	} {
		var groups []string
		if c.org != "" {
			groups = []string{c.org}
		}
		cert, key, err := p.issue(c.ca, c.cn, groups, c.name == "apiserver")
		if err != nil {
			return err
		}
		if err := p.write(c.name, cert, key); err != nil {
			return err
		}
	}
	return p.newKeyPair("service-account")
}

// newAuthority writes a self-signed certificate authority.
func (p pki) newAuthority(name string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("create the key of %s: %w", name, err)
	}
	template, err := certificate(name, nil)
	if err != nil {
		return err
	}
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.KeyUsage |= x509.KeyUsageCertSign
	cert, keyPEM, err := sign(template, key, &authority{cert: template, key: key})
	if err != nil {
		return err
	}
	return p.write(name, cert, keyPEM)
}

// newKeyPair writes a private key and, instead of a certificate, its public key.
func (p pki) newKeyPair(name string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("create the key of %s: %w", name, err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return fmt.Errorf("encode the public key of %s: %w", name, err)
	}
	private, err := encodeKey(key)
	if err != nil {
		return err
	}
	return p.write(name, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}), private)
}

// issue creates a certificate for a user, or for the API server itself, signed
// by one of the authorities in the folder.
func (p pki) issue(ca, user string, groups []string, server bool) (cert, key []byte, err error) {
	signer, err := p.authority(ca)
	if err != nil {
		return nil, nil, err
	}
	template, err := certificate(user, groups)
	if err != nil {
		return nil, nil, err
	}
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if server {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		template.DNSNames = []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
			"kubernetes.default.svc.cluster.local"}
		template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.ParseIP(serviceIP)}
	}
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("create the key of %s: %w", user, err)
	}
	return sign(template, own, signer)
}

func (p pki) authority(name string) (*authority, error) {
	pair, err := tls.LoadX509KeyPair(p.cert(name), p.key(name))
	if err != nil {
		return nil, fmt.Errorf("load the certificate authority: %w", err)
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, errors.New("load the certificate authority: its key cannot sign")
	}
	return &authority{cert: pair.Leaf, key: key}, nil
}

func (p pki) write(name string, cert, key []byte) error {
	if err := os.WriteFile(p.cert(name), cert, 0o600); err != nil {
		return fmt.Errorf("write a certificate: %w", err)
	}
	if err := os.WriteFile(p.key(name), key, 0o600); err != nil {
		return fmt.Errorf("write a key: %w", err)
	}
	return nil
}

func certificate(user string, groups []string) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("create a serial number: %w", err)
	}
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: user, Organization: groups},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().AddDate(1, 0, 0),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}, nil
}

func sign(template *x509.Certificate, key crypto.Signer, ca *authority) (certPEM, keyPEM []byte, err error) {
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
	if err != nil {
		return nil, nil, fmt.Errorf("sign the certificate of %s: %w", template.Subject.CommonName, err)
	}
	keyPEM, err = encodeKey(key)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), keyPEM, nil
}

func encodeKey(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode a private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
