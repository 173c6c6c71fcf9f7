// Command system-registry runs the integrated registry, and prints how to use it:
//
//	go run . -dir /var/lib/registry
//
// It keeps images and accounts in the folder, and continues with them after a restart. The first start creates the
// account "admin" with a random password, in the file admin-password, and the registry's own certificate authority, in
// the file ca.pem.
//
// While it runs, and once an image has been pushed, this command proves that a new pull secret can pull the image, and
// prints the secret:
//
//	go run . -dir /var/lib/registry -pull team/app:1 -namespace shop | kubectl apply -f -
//
// It backs itself up once a day, restores a backup into an empty folder, and checks that no image lost a part:
//
//	go run . -dir /var/lib/registry -backup /backup/registry
//	go run . -dir /var/lib/restored -restore /backup/registry
//	go run . -dir /var/lib/restored -check
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
	"sync"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/systemregistry"
	"github.com/regcred/regcred/systemregistry/images"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "system-registry:", err)
		stop()
		os.Exit(exitCode(err))
	}
}

// A usageError reports incorrect flags.
type usageError struct{ error }

func exitCode(err error) int {
	if errors.As(err, new(usageError)) {
		return 2
	}
	return 1
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("system-registry", flag.ContinueOnError)
	flags.SetOutput(out)
	dir := flags.String("dir", "registry-data", "the `folder` of images and accounts")
	addr := flags.String("addr", "127.0.0.1:5000", "where to listen")
	url := flags.String("url", "", "how clients reach it, where that is not the address: https://registry.example.com")
	pull := flags.String("pull", "", "print a pull secret for this `image` of the registry that runs: team/app:1")
	namespace := flags.String("namespace", "", "the namespace of that secret")
	backup := flags.String("backup", "", "back up into this `folder` while it runs, once a day")
	restored := flags.String("restore", "", "fill the empty -dir from the backup in this `folder`, and end")
	checked := flags.Bool("check", false, "read all images of the stopped registry, print what is missing or damaged, and end")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return err
	} else if err != nil {
		return usageError{err}
	}
	if flags.NArg() > 0 {
		return usageError{fmt.Errorf("unexpected argument %q: there are flags only", flags.Arg(0))}
	}
	modes := 0
	for _, set := range []bool{*checked, *restored != "", *pull != "", *backup != ""} {
		if set {
			modes++
		}
	}
	switch {
	case modes > 1:
		return usageError{errors.New("give only one of -pull, -backup, -restore and -check")}
	case *checked:
		return check(ctx, out, *dir)
	case *restored != "":
		return restore(ctx, out, *dir, *restored)
	case *pull != "":
		if *url == "" {
			*url = "https://" + *addr
		}
		return printPullSecret(ctx, out, *dir, *url, *pull, *namespace)
	}
	return serve(ctx, out, *dir, *addr, *url, *backup)
}

func serve(ctx context.Context, out io.Writer, dir, addr, url, backup string) error {
	logrus.SetLevel(logrus.ErrorLevel)
	logrus.SetFormatter(new(ownErrors))
	if _, err := os.Stat(filepath.Join(dir, accountsFile+unfinished)); err == nil {
		return fmt.Errorf("%s was not restored completely: empty it, and restore it again", dir)
	}
	password, err := adminPassword(dir)
	if err != nil {
		return err
	}
	var backups sync.WaitGroup
	defer backups.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return systemregistry.Server{
		Dir: dir, Addr: addr, URL: url,
		Admin: adminName, AdminPassword: password,
		// Anonymous pulls, immutable tags, and retention.
		Public:   []string{"public/**"},
		Policies: []images.Policy{{Repositories: "release/**", Immutable: true}, {Repositories: "cache/**", KeepFor: 30 * 24 * time.Hour}},
		OnReady: func(r systemregistry.Ready) {
			ready(out, dir, r)
			if backup != "" {
				backups.Go(func() { backUp(ctx, out, r.Registry, dir, backup) })
			}
		},
		OnEvent: func(e systemregistry.Event) {
			fmt.Fprintln(out, e.Time.Format(time.TimeOnly), e.Kind, e.Account, e.Subject, outcome(e.Err))
		},
		OnError: func(err error) { fmt.Fprintln(out, "error:", err) },
	}.Run(ctx)
}

// ownErrors drops the log entries of distribution that only repeat error responses to clients: each push begins with
// the response that a layer does not exist.
type ownErrors struct{ logrus.TextFormatter }

func (f *ownErrors) Format(e *logrus.Entry) ([]byte, error) {
	if code, ok := e.Data["err.code"]; ok && fmt.Sprint(code) != "unknown" {
		return nil, nil
	}
	return f.TextFormatter.Format(e)
}

// The name of the admin account, and the files in the folder.
const (
	adminName    = "admin"
	passwordFile = "admin-password"
	accountsFile = "accounts.db"
	caFile       = "ca.pem"
)

func ready(out io.Writer, dir string, r systemregistry.Ready) {
	ca := filepath.Join(dir, caFile)
	if err := os.WriteFile(ca, []byte(r.CA), 0o644); err != nil {
		fmt.Fprintln(out, "error:", err)
	}
	password := "in " + filepath.Join(dir, passwordFile)
	if _, err := os.Stat(filepath.Join(dir, passwordFile)); err != nil {
		password = "from before the restore, because the backup does not have it"
	}
	fmt.Fprintf(out, "registry:  %s (the console is there, too)\nlogin:     %s, with the password %s\nauthority: %s\n",
		r.URL, adminName, password, ca)
}

func outcome(err error) string {
	if err != nil {
		return "refused: " + err.Error()
	}
	return "done"
}

// adminPassword returns the password in the folder, and creates one at the first start. It returns none if there are
// accounts already, whose passwords it does not know.
func adminPassword(dir string) (credentials.Secret, error) {
	path := filepath.Join(dir, passwordFile)
	text, err := os.ReadFile(path)
	if _, there := os.Stat(filepath.Join(dir, accountsFile)); there == nil && errors.Is(err, fs.ErrNotExist) {
		return credentials.Secret{}, nil
	}
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
