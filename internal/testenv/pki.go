package testenv

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Who may log in to a cluster, each with a token.
type users struct{ admin, controllerManager, scheduler string }

// credentials writes what a cluster's API server needs into dir: a serving certificate that is its own authority
// (tls.crt, tls.key), the key pair of service account tokens (sa.key), and the tokens of the users (tokens.csv).
func credentials(dir string) (ca []byte, u users, err error) {
	key, keyPEM, err := newKey()
	if err != nil {
		return nil, users{}, err
	}
	certificate := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "testenv"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().AddDate(0, 1, 0),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		DNSNames:              []string{"localhost", "kubernetes.default.svc"},
	}
	der, err := x509.CreateCertificate(rand.Reader, certificate, certificate, key.Public(), key)
	if err != nil {
		return nil, users{}, fmt.Errorf("create a certificate: %w", err)
	}
	ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	_, accounts, err := newKey()
	if err != nil {
		return nil, users{}, err
	}
	u = users{admin: rand.Text(), controllerManager: rand.Text(), scheduler: rand.Text()}
	tokens := fmt.Sprintf("%s,admin,1,\"system:masters\"\n%s,system:kube-controller-manager,2\n%s,system:kube-scheduler,3\n", u.admin, u.controllerManager, u.scheduler)
	for name, content := range map[string][]byte{"tls.crt": ca, "tls.key": keyPEM, "sa.key": accounts, "tokens.csv": []byte(tokens)} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return nil, users{}, fmt.Errorf("write credentials: %w", err)
		}
	}
	return ca, u, nil
}

func newKey() (*ecdsa.PrivateKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("create a key: %w", err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("encode a key: %w", err)
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}
