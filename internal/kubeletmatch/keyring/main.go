// Program keyring looks up logins with the kubelet's own code. It reads pods from its input, one per line, as JSON, and
// writes the logins that a kubelet tries for the image, in order, or the error that prevents the pull.
package main

import (
	"encoding/json"
	"errors"
	"io"
	"log"
	"os"
	"strconv"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/kubernetes/pkg/credentialprovider"
	"k8s.io/kubernetes/pkg/credentialprovider/secrets"
	"k8s.io/kubernetes/pkg/util/parsers"
)

type pod struct {
	Image   string
	Secrets [][]byte // The values of .dockerconfigjson, in the order of imagePullSecrets.
}

type login struct{ Username, Password string }

type answer struct {
	Logins []login
	Error  string `json:",omitempty"`
}

func main() {
	log.SetFlags(0)
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var p pod
		if err := in.Decode(&p); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			log.Fatal(err)
		}
		logins, err := lookup(p)
		a := answer{Logins: logins}
		if err != nil {
			a.Error = err.Error()
		}
		if err := out.Encode(a); err != nil {
			log.Fatal(err)
		}
	}
}

// lookup does the same as the kubelet's image manager before it requests the pull.
func lookup(p pod) ([]login, error) {
	list := make([]v1.Secret, len(p.Secrets))
	for i, text := range p.Secrets {
		list[i] = v1.Secret{Type: v1.SecretTypeDockerConfigJson, Data: map[string][]byte{v1.DockerConfigJsonKey: text}}
		list[i].UID = types.UID(strconv.Itoa(i))
	}
	keyring, err := secrets.MakeDockerKeyring(list, &credentialprovider.BasicDockerKeyring{})
	if err != nil {
		return nil, err
	}
	repository, _, _, err := parsers.ParseImageName(p.Image)
	if err != nil {
		return nil, err
	}
	found, _ := keyring.Lookup(repository)
	var logins []login
	for _, f := range found {
		logins = append(logins, login{f.Username, f.Password})
	}
	return logins, nil
}
