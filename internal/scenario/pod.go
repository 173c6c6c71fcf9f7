package scenario

import (
	"cmp"
	"encoding/base64"
	"strconv"
	"strings"
)

// A Secret is a pull secret of a pod.
type Secret struct {
	Entries []SecretEntry `json:",omitempty"`
	// Broken adds an entry for another registry whose login is not base64.
	Broken bool `json:",omitempty"`
}

// A SecretEntry is an entry of a pull secret.
type SecretEntry struct {
	// Key is the key of the entry. Empty means the registry's host.
	Key string `json:",omitempty"`
	// Login is the login of the entry: empty for the correct one, "wrong", "none" for an entry without a login, or "token"
	// for one that has only an identity token.
	Login string `json:",omitempty"`
}

// Secrets returns the content of the key .dockerconfigjson of each secret. Each wrong login has a user name of its own.
func (s Scenario) Secrets() [][]byte {
	var all [][]byte
	n := 0
	for _, secret := range s.Pod {
		auths := make(object)
		for _, e := range secret.Entries {
			n++
			entry := object{}
			switch e.Login {
			case "":
				entry["auth"] = base64.StdEncoding.EncodeToString([]byte(Username + ":" + Password))
			case "wrong":
				entry["auth"] = base64.StdEncoding.EncodeToString([]byte("wrong" + strconv.Itoa(n) + ":wrong"))
			case "token":
				entry["identitytoken"] = "token"
			}
			auths[cmp.Or(e.Key, Host)] = entry
		}
		if secret.Broken {
			auths["broken.test"] = object{"auth": "not base64"}
		}
		all = append(all, mustJSON(object{"auths": auths}))
	}
	return all
}

// WithLogin returns the scenario of a client that has the login alone, without the pod.
func (s Scenario) WithLogin(username, password string) Scenario {
	s.Pod = nil
	switch {
	case username == "" && password == "":
		s.Login = "none"
	case username == Username && password == Password:
		s.Login = ""
	default:
		s.Login = "wrong"
	}
	return s
}

// secretKeys are keys of pull secrets, some of which match the image.
var secretKeys = []string{
	"", "", "https://" + Host, "http://" + Host + "/v2/", "https://" + Host + "/v1/", Host + "/team", Host + "/team/app", Host + "/te",
	Host + "/other", Host + ":443", "*.example.test", "*.example.test/team", "*.test", "REGISTRY.example.test", OtherHost, AuthHost,
}

func (d die) pod() []Secret {
	pod := make([]Secret, 1+d(3))
	for i := range pod {
		used := make(map[string]bool)
		for range 1 + d(3) {
			key := d.pick(secretKeys...)
			// A kubelet tries spellings of one key in an order that is not fixed.
			_, plain, _ := strings.Cut("://"+cmp.Or(key, Host), "://")
			if _, rest, ok := strings.Cut(plain, "://"); ok {
				plain = rest
			}
			plain, _, _ = strings.Cut(plain, "/v")
			if used[plain] {
				continue
			}
			used[plain] = true
			pod[i].Entries = append(pod[i].Entries, SecretEntry{Key: key, Login: d.pick("", "wrong", "wrong", "none", "token")})
		}
		pod[i].Broken = d(12) == 11
	}
	return pod
}
