package systemregistry_test

import (
	"context"
	"fmt"
	"net/http/httptest"

	"github.com/regcred/regcred/systemregistry"
	"github.com/regcred/regcred/systemregistry/accounts"
)

// A program with an HTTP server of its own serves the registry. This registry is in memory.
func ExampleServer_Open() {
	ctx := context.Background()
	registry, err := systemregistry.Server{}.Open(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = registry.Close() }()

	robot := accounts.Account{
		Name: accounts.RobotName("team", "cluster"), Tenant: "team",
		Rules: []accounts.Rule{{Repositories: "team/**", Actions: []accounts.Action{accounts.Pull}}},
	}
	secret, err := registry.Accounts().CreateRobot(ctx, robot)
	fmt.Println(robot.Name, secret, err)

	answer := httptest.NewRecorder()
	registry.ServeHTTP(answer, httptest.NewRequest("GET", "https://registry.example.com/v2/", nil))
	fmt.Println(answer.Code, answer.Header().Get("WWW-Authenticate"))
	// Output:
	// team+cluster [redacted] <nil>
	// 401 Bearer realm="https://registry.example.com/token",service="regcred"
}
