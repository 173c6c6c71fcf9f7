package registry

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"
)

// pemBegin is the start of each PEM block.
const pemBegin = "-----BEGIN "

// certificates returns the certificates of a PEM bundle. Text between them is a comment, as in the bundles of many
// distributions. A byte order mark is accepted, as are files that were joined without a line break. A certificate that
// is truncated or damaged is an error wherever it is, although pem.Decode would skip it.
func certificates(bundle string) ([]*x509.Certificate, error) {
	text := strings.TrimPrefix(bundle, "\ufeff")
	text = strings.ReplaceAll(text, "-----"+pemBegin, "-----\n"+pemBegin)
	begun := strings.Count(text, pemBegin)
	if begun == 0 {
		return nil, notPEM(text)
	}
	if strings.Contains(text, `-----\n`) {
		return nil, errors.New(`has \n as two characters where line breaks belong`)
	}
	var list []*x509.Certificate
	rest := []byte(text)
	for {
		before := rest
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		// pem.Decode skips comments, but also damaged blocks: then the skipped text contains the start of a block.
		if strings.Count(string(before), pemBegin)-strings.Count(string(rest), pemBegin) > 1 {
			return nil, fmt.Errorf("holds a certificate that is cut off or damaged, as number %d", len(list)+1)
		}
		if block.Type != "CERTIFICATE" {
			return nil, errors.New("holds a " + block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("holds a certificate that cannot be read, as number %d", len(list)+1)
		}
		list = append(list, cert)
	}
	switch {
	case bytes.Contains(rest, []byte(pemBegin)):
		return nil, fmt.Errorf("holds a certificate that is cut off or damaged, as number %d", len(list)+1)
	case strings.TrimSpace(string(rest)) != "":
		return nil, errors.New("has text after the last certificate that is not a certificate")
	}
	return list, nil
}

// withoutKey returns the PEM text of certificates, or a placeholder if the text has a block that is not a certificate
// and may therefore be a private key.
func withoutKey(text string) string {
	if strings.Count(text, pemBegin) != strings.Count(text, pemBegin+"CERTIFICATE-----") {
		return "***"
	}
	return text
}

// notPEM returns an error that describes a text without a PEM block.
func notPEM(text string) error {
	compact := strings.TrimRight(strings.Join(strings.Fields(text), ""), "=")
	data, err := base64.RawStdEncoding.DecodeString(compact)
	switch {
	case err == nil && bytes.Contains(data, []byte(pemBegin)):
		return errors.New("is the base64 of certificates in PEM, and not the certificates")
	case err == nil && isCertificate(data):
		return errors.New("is a certificate without the lines -----BEGIN CERTIFICATE----- and -----END CERTIFICATE-----")
	case isCertificate([]byte(text)):
		return errors.New("is a certificate in DER, and not in PEM")
	case strings.HasPrefix(text, "/") && !strings.ContainsAny(text, "\n"):
		return errors.New("is the path of a file, and not its content")
	}
	return errors.New("holds no certificate")
}

func isCertificate(data []byte) bool {
	_, err := x509.ParseCertificate(data)
	return err == nil
}

// outOfTime returns a warning for each certificate of the bundle that is expired or not yet valid at the time now.
func outOfTime(bundle string, now time.Time) []string {
	list, _ := certificates(bundle) // Validate reports what cannot be parsed.
	var warnings []string
	for _, cert := range list {
		switch {
		case now.After(cert.NotAfter):
			warnings = append(warnings, fmt.Sprintf("the certificate %s in transport.caBundle expired at %s: "+
				"replace it with its successor", nameOf(cert), cert.NotAfter.UTC().Format(time.RFC3339)))
		case now.Before(cert.NotBefore):
			warnings = append(warnings, fmt.Sprintf("the certificate %s in transport.caBundle is not valid before %s: "+
				"check the clock of this machine", nameOf(cert), cert.NotBefore.UTC().Format(time.RFC3339)))
		}
	}
	return warnings
}

// nameOf returns the subject of a certificate, with a bounded length because it is untrusted text.
func nameOf(cert *x509.Certificate) string { return fmt.Sprintf("%.80q", cert.Subject.String()) }
