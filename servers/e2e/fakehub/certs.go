package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

const (
	certLifetime = 30 * 24 * time.Hour // throw-away: nobody should come to rely on them
	clockSkew    = time.Hour           // a container's clock may be behind
	serialBits   = 127
	fileMode     = 0o444 // the key too: containers of any uid read it, and it protects nothing
	dirMode      = 0o755
)

// certs writes ca.pem, cert.pem and key.pem to a folder. The CA's own key is never written, and the CA is
// good for the given hosts alone.
func certs(args []string) error {
	flags := flag.NewFlagSet("fakehub certs", flag.ContinueOnError)
	dir := flags.String("dir", "", "`folder` to write ca.pem, cert.pem and key.pem to")
	var hosts []string
	flags.Func("host", "`name` or address of the server; more may follow", func(host string) error {
		hosts = append(hosts, host)
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return err
	}
	hosts = append(hosts, flags.Args()...)
	if *dir == "" || len(hosts) == 0 {
		return errors.New("certs needs --dir and at least one --host")
	}
	files, err := makeCerts(hosts, time.Now())
	if err != nil {
		return err
	}
	if err := os.MkdirAll(*dir, dirMode); err != nil {
		return err
	}
	for name, data := range files {
		if err := replace(filepath.Join(*dir, name), data); err != nil {
			return err
		}
	}
	return nil
}

// replace writes a file in place of what was there: a file of mode 0444 could not be written over.
func replace(file string, data []byte) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.WriteFile(file, data, fileMode); err != nil {
		return err
	}
	return os.Chmod(file, fileMode)
}

// makeCerts returns the files by name.
func makeCerts(hosts []string, now time.Time) (map[string][]byte, error) {
	ca, err := template("Bulkhead throw-away test CA", now)
	if err != nil {
		return nil, err
	}
	leaf, err := template(hosts[0], now)
	if err != nil {
		return nil, err
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			leaf.IPAddresses = append(leaf.IPAddresses, ip)
			bits := 8 * len(shortest(ip))
			ca.PermittedIPRanges = append(ca.PermittedIPRanges, &net.IPNet{IP: shortest(ip), Mask: net.CIDRMask(bits, bits)})
			continue
		}
		leaf.DNSNames = append(leaf.DNSNames, host)
		ca.PermittedDNSDomains = append(ca.PermittedDNSDomains, host)
	}
	ca.IsCA, ca.KeyUsage, ca.PermittedDNSDomainsCritical = true, x509.KeyUsageCertSign, true
	ca.MaxPathLenZero = true
	leaf.KeyUsage, leaf.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}

	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return nil, fmt.Errorf("the CA's certificate: %w", err)
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, &leafKey.PublicKey, caKey)
	if err != nil {
		return nil, fmt.Errorf("the server's certificate: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(leafKey)
	if err != nil {
		return nil, err
	}
	return map[string][]byte{
		"ca.pem":   pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}),
		"cert.pem": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leafDER}),
		"key.pem":  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}, nil
}

func template(commonName string, now time.Time) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), serialBits))
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: commonName},
		NotBefore: now.Add(-clockSkew), NotAfter: now.Add(certLifetime),
		BasicConstraintsValid: true,
	}, nil
}

// shortest returns an IPv4 address in its four bytes.
func shortest(ip net.IP) net.IP {
	if v4 := ip.To4(); v4 != nil {
		return v4
	}
	return ip
}
