package ecrtest

import (
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"path"
	"time"

	"github.com/regcred/regcred/credentials"
)

// ContainerCredentials serves the endpoint that provides a container's role, as EKS Pod Identity and ECS do. Serve it
// on the loopback address, because clients accept no other, and set AWS_CONTAINER_CREDENTIALS_FULL_URI to its URL and
// AWS_CONTAINER_AUTHORIZATION_TOKEN to the token. It panics if the role does not exist.
func (a *AWS) ContainerCredentials(roleARN string, authorization credentials.Secret) http.Handler {
	role := a.mustRole(roleARN)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte(authorization.Reveal())) != 1 {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusUnauthorized)
			_ = json.NewEncoder(w).Encode(map[string]string{"code": "AccessDeniedException", "message": "Unauthorized Exception! EKS does not have permissions to assume the associated role."})
			return
		}
		a.sendKey(w, a.startSession(role, "eks-pod", 0, nil))
	})
}

// InstanceMetadata serves version 2 of the instance metadata service of a machine with the role. Set
// AWS_EC2_METADATA_SERVICE_ENDPOINT to its URL. It panics if the role does not exist.
func (a *AWS) InstanceMetadata(roleARN string) http.Handler {
	role := a.mustRole(roleARN)
	const credentialsPath = "/latest/meta-data/iam/security-credentials/"
	session := longText()[:56]
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /latest/api/token", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600")
		_, _ = w.Write([]byte(session))
	})
	mux.HandleFunc("GET "+credentialsPath, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("X-Aws-Ec2-Metadata-Token") != session:
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == credentialsPath:
			_, _ = w.Write([]byte(path.Base(role.ARN)))
		default:
			a.sendKey(w, a.startSession(role, "i-0123456789abcdef0", 0, nil))
		}
	})
	return mux
}

func (a *AWS) mustRole(arn string) Role {
	role, ok := a.roleOf(arn)
	if !ok {
		panic("ecrtest: no role " + arn)
	}
	return role
}

func (a *AWS) sendKey(w http.ResponseWriter, k issuedKey) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{
		"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": k.accessKeyID, "SecretAccessKey": k.secret, "Token": k.sessionToken,
		"Expiration": k.expiresAt.UTC().Format(time.RFC3339), "AccountId": k.account(),
	})
}
