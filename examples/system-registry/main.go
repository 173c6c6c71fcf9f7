// Command system-registry runs the integrated registry, and prints how to reach it:
//
//	go run . -dir /var/lib/registry
//
// It keeps images and accounts in the folder, and goes on with them when it is started again. The first start makes the
// account "admin" with a random password, which is in the file admin-password there, and the registry's own certificate
// authority, which is in the file ca.pem.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers/system/server"
	"github.com/regcred/regcred/providers/system/server/images"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("system-registry", flag.ContinueOnError)
	dir := flags.String("dir", "registry-data", "the folder that images and accounts are kept in")
	addr := flags.String("addr", "127.0.0.1:5000", "where to listen")
	url := flags.String("url", "", "how clients reach it, where that is not the address: https://registry.example.com")
	if err := flags.Parse(args); err != nil {
		return err
	}
	logrus.SetLevel(logrus.WarnLevel) // Distribution logs there, each request at the level below.

	password, err := adminPassword(*dir)
	if err != nil {
		return err
	}
	return server.Server{
		Dir: *dir, Addr: *addr, URL: *url,
		Admin: "admin", AdminPassword: password,
		// What may be pulled without a login, which tags never change, and how long what is kept.
		Public:   []string{"public/**"},
		Policies: []images.Policy{{Repositories: "release/**", Immutable: true}, {Repositories: "cache/**", KeepFor: 30 * 24 * time.Hour}},
		OnReady:  func(r server.Ready) { ready(out, *dir, r) },
		OnEvent: func(e server.Event) {
			fmt.Fprintln(out, e.Time.Format(time.TimeOnly), e.Kind, e.Account, e.Subject, outcome(e.Err))
		},
		OnError: func(err error) { fmt.Fprintln(out, "error:", err) },
	}.Run(ctx)
}

func ready(out io.Writer, dir string, r server.Ready) {
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, []byte(r.CA), 0o644); err != nil {
		fmt.Fprintln(out, "error:", err)
	}
	fmt.Fprintf(out, "registry:  %s (the console is there, too)\nlogin:     admin, with the password in %s\nauthority: %s\n",
		r.URL, filepath.Join(dir, "admin-password"), ca)
}

func outcome(err error) string {
	if err != nil {
		return "refused: " + err.Error()
	}
	return "done"
}

// adminPassword returns the password in the folder, and makes one at the first time.
func adminPassword(dir string) (credentials.Secret, error) {
	path := filepath.Join(dir, "admin-password")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		text = []byte(rand.Text())
		if err = os.MkdirAll(dir, 0o700); err == nil {
			err = os.WriteFile(path, text, 0o600)
		}
	}
	if err != nil {
		return credentials.Secret{}, fmt.Errorf("password of the admin: %w", err)
	}
	return credentials.NewSecret(string(text)), nil
}
