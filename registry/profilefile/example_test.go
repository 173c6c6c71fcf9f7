package profilefile_test

import (
	"fmt"

	"github.com/regcred/regcred/registry/profilefile"
)

func Example() {
	const file = `
- name: hub
  kind: dockerhub
  login: {username: acme, password: {env: DOCKERHUB_TOKEN}}
- name: shop
  kind: custom
  endpoint: registry.example.com:5000/shop
  login: {username: robot, password: {env: SHOP_PASSWORD}}
`
	// A program that reads its own user's file calls Read(path), which uses os.LookupEnv and the files in the same folder.
	variables := map[string]string{"DOCKERHUB_TOKEN": "s3cret"}
	lookup := profilefile.Lookup{Env: func(name string) (string, bool) { v, ok := variables[name]; return v, ok }}

	_, err := profilefile.Decode([]byte(file), lookup)
	fmt.Println(err)

	variables["SHOP_PASSWORD"] = "s3cret"
	profiles, err := profilefile.Decode([]byte(file), lookup)
	for _, p := range profiles {
		fmt.Println(p.Name, p.Login.Username, p.Login.Password)
	}
	fmt.Println(err)
	// Output:
	// line 8: [1].login.password is {env: SHOP_PASSWORD}, which is not set or empty
	// hub acme [redacted]
	// shop robot [redacted]
	// <nil>
}
