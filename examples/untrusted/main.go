// Untrusted is the backend of a form "New registry" on a platform whose users are not trusted: it checks the profile
// and the images that a user sends, and connects to public addresses only.
//
//	go run ./examples/untrusted
//	curl -H 'X-Tenant: ann' -d @request.json http://127.0.0.1:8080/check
//
// A request is {"profile": {...}, "images": ["..."]}. The response has the issues, with codes and hints for the form.
// docs/security.md explains the purpose of each step.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/regcred/regcred"
	"github.com/regcred/regcred/egress"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/validate"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "untrusted:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("untrusted", flag.ContinueOnError)
	flags.SetOutput(out)
	listen := flags.String("listen", "127.0.0.1:8080", "the `address` to listen on")
	allow := flags.String("allow", "", "`prefixes` of registries in the platform's own network, such as 10.8.0.0/24, with commas between them")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q: there are flags only", flags.Arg(0))
	}
	prefixes, err := parsePrefixes(*allow)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "listening on http://%s\n", l.Addr())
	return serve(ctx, l, newHandler(prefixes))
}

func parsePrefixes(text string) ([]netip.Prefix, error) {
	var prefixes []netip.Prefix
	for s := range strings.SplitSeq(text, ",") {
		if s == "" {
			continue
		}
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, err
		}
		prefixes = append(prefixes, p)
	}
	return prefixes, nil
}

func serve(ctx context.Context, l net.Listener, h http.Handler) error {
	server := &http.Server{Handler: h, ReadTimeout: 10 * time.Second, WriteTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10}
	stopped := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stopped()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

const (
	maxBody   = 64 << 10
	maxImages = 50
	// atOnce limits the number of concurrent checks, because a registry may be slow.
	atOnce    = 32
	timeLimit = time.Minute
)

type handler struct {
	pipeline *regcred.Pipeline
	slots    chan struct{}
}

func newHandler(allow []netip.Prefix) *handler {
	return &handler{
		pipeline: &regcred.Pipeline{
			// This one setting permits public addresses only, and no proxy, plain HTTP, identity or file of this
			// process.
			Egress:  &egress.Policy{Allow: allow},
			Checker: validate.Checker{Timeout: 10 * time.Second, UserAgent: "platform/1.0"},
		},
		slots: make(chan struct{}, atOnce),
	}
}

type request struct {
	Profile json.RawMessage `json:"profile"`
	Images  []string        `json:"images"`
}

type response struct {
	OK     bool             `json:"ok"`
	Issues []registry.Issue `json:"issues,omitempty"`
}

func (h *handler) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.Method != http.MethodPost || req.URL.Path != "/check" {
		http.NotFound(w, req)
		return
	}
	// The tenant comes from the platform's own authentication, never from the profile. Profiles of different tenants
	// never share a credential.
	tenant := req.Header.Get("X-Tenant")
	if tenant == "" {
		http.Error(w, "log in first", http.StatusUnauthorized)
		return
	}
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	default:
		w.Header().Set("Retry-After", "5")
		http.Error(w, "too many checks at once", http.StatusTooManyRequests)
		return
	}
	ctx, cancel := context.WithTimeout(req.Context(), timeLimit)
	defer cancel()
	err := h.check(ctx, tenant, http.MaxBytesReader(w, req.Body, maxBody))
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(response{OK: err == nil, Issues: registry.IssuesOf(err)})
}

func (h *handler) check(ctx context.Context, tenant string, body io.Reader) error {
	var r request
	if err := json.NewDecoder(body).Decode(&r); err != nil {
		return registry.ErrInvalid // The decoder's own error may quote the request.
	}
	if len(r.Images) > maxImages {
		return &registry.Error{Op: "read request", Code: registry.ErrInvalid, Err: fmt.Errorf("it has %d images: expected at most %d", len(r.Images), maxImages)}
	}
	profiles, err := registry.DecodeProfiles(r.Profile)
	if err != nil {
		return err
	}
	for i := range profiles {
		profiles[i].Tenant = tenant
	}
	return h.pipeline.Check(ctx, profiles, r.Images)
}
