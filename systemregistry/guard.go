package systemregistry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/distribution/distribution/v3/registry/api/errcode"
	v2 "github.com/distribution/distribution/v3/registry/api/v2"
	"github.com/distribution/distribution/v3/registry/auth"
	"github.com/gorilla/mux"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/semaphore"

	"github.com/regcred/regcred/systemregistry/images"
	"github.com/regcred/regcred/systemregistry/internal/catalog"
	"github.com/regcred/regcred/systemregistry/internal/shared"
)

const (
	// maxManifest is distribution's own limit on the size of a manifest, in bytes.
	maxManifest = 4 << 20
	// waitToPut is the longest time that a manifest waits for a collection, or for another replica that writes the same
	// tag. Clients give up after a minute.
	waitToPut = 30 * time.Second
)

// guard is the handler in front of distribution. It applies the policies to changes. It does not check rights:
// distribution checks them through the gate. The guard rejects only requests whose sender has the right to make them.
type guard struct {
	registry *Registry
	routes   *mux.Router // Distribution's router, so that both parse a path the same way.
	// memory limits the large manifests that are in memory at once.
	memory *semaphore.Weighted
}

const (
	// smallManifest is the size up to which a manifest is read without waiting for memory. The manifest of an image
	// with 127 layers has about 20 KiB.
	smallManifest = 64 << 10
	// manifestMemory is the limit on the total size of all larger manifests in memory.
	manifestMemory = 8 * maxManifest
)

func newGuard(r *Registry) *guard {
	return &guard{registry: r, routes: v2.RouterWithPrefix(""), memory: semaphore.NewWeighted(manifestMemory)}
}

func (g *guard) serve(a *answer, r *http.Request) {
	// Distribution reads parameters from the form of the request before it authenticates the client. If Form were not
	// set, it would parse the body: any number of bytes, into memory and the folder for temporary files.
	r.Form = r.URL.Query()
	// Distribution logs RequestURI. Queries contain tokens, and the state of uploads, with which others could continue
	// them.
	r.RequestURI = r.URL.EscapedPath()
	r.Header.Del("Referer")
	a.hide = g.hide
	var match mux.RouteMatch
	if r.Method == http.MethodGet || r.Method == http.MethodHead || !g.routes.Match(r, &match) || match.Route == nil {
		g.registry.app.ServeHTTP(a, r)
		return
	}
	name, reference := match.Vars["name"], match.Vars["reference"]
	r = r.WithContext(catalog.OnConflict(r.Context(), func(err error) { a.refusal = refusal(err) }))
	switch route := match.Route.GetName(); {
	case route == v2.RouteNameManifest && r.Method == http.MethodPut:
		g.put(a, r, name, reference)
	case route == v2.RouteNameManifest && r.Method == http.MethodDelete:
		g.delete(a, r, name, reference, g.registry.catalog.Condemn)
	case route == v2.RouteNameBlob && r.Method == http.MethodDelete:
		g.delete(a, r, name, match.Vars["digest"], g.registry.catalog.CondemnLayer)
	case route == v2.RouteNameBlobUpload || route == v2.RouteNameBlobUploadChunk:
		g.upload(a, r, name, match.Vars["uuid"])
	default:
		g.registry.app.ServeHTTP(a, r)
	}
}

// may reports whether the sender has the rights. It makes the same check that distribution makes later; if the check
// fails, distribution sends the error response.
func (g *guard) may(r *http.Request, name string, actions ...string) bool {
	access := make([]auth.Access, len(actions))
	for i, action := range actions {
		access[i] = auth.Access{Resource: auth.Resource{Type: "repository", Name: name}, Action: action}
	}
	_, err := g.registry.gate.Authorized(r, access...)
	return err == nil
}

func (g *guard) put(a *answer, r *http.Request, name, reference string) {
	if !g.may(r, name, "pull", "push") {
		g.registry.app.ServeHTTP(a, r)
		return
	}
	// The whole body is read before any lock is taken, so that a slow client holds no lock.
	body, release, err := g.manifest(r)
	if err != nil {
		refuse(a, err)
		return
	}
	defer release()
	g.change(a, r, EventPush, name, reference, g.registry.catalog.Changing, func(ctx context.Context) (func(bool), error) {
		return g.registry.catalog.MayPut(ctx, name, reference, string(digest.FromBytes(body)), int64(len(body)))
	})
}

// errManifestSize has the status that OCI's specification requires for a manifest above the registry's limit.
var errManifestSize = errcode.Register("regcred", errcode.ErrorDescriptor{
	Value: "MANIFEST_TOO_LARGE", Message: "the manifest is larger than 4 MiB", HTTPStatusCode: http.StatusRequestEntityTooLarge,
})

// manifest reads the manifest in the body of the request. It reserves memory for the manifest until release is called.
func (g *guard) manifest(r *http.Request) (body []byte, release func(), err error) {
	size := r.ContentLength
	if size < 0 {
		size = maxManifest
	}
	release = func() {}
	if size > smallManifest && size <= maxManifest {
		ctx, cancel := context.WithTimeout(r.Context(), waitToPut)
		defer cancel()
		if g.memory.Acquire(ctx, size) != nil {
			return nil, nil, errcode.ErrorCodeUnavailable.WithMessage("too many large manifests are pushed: try again in a minute")
		}
		release = func() { g.memory.Release(size) }
	}
	unseal(r, maxManifest, stalled)
	if body, err = io.ReadAll(r.Body); err != nil {
		release()
		if _, long := errors.AsType[*http.MaxBytesError](err); long || r.ContentLength > maxManifest {
			return nil, nil, errManifestSize
		}
		return nil, nil, errcode.ErrorCodeManifestInvalid.WithMessage("the manifest cannot be read")
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return body, release, nil
}

func (g *guard) delete(
	a *answer, r *http.Request, name, reference string,
	condemn func(ctx context.Context, repository, reference string) (context.Context, error),
) {
	if !g.may(r, name, "delete") {
		g.registry.app.ServeHTTP(a, r)
		return
	}
	ctx, err := condemn(r.Context(), name, reference)
	if err != nil {
		reject(a, err)
		g.changed(a, r, EventDelete, name, reference, err)
		return
	}
	r = r.WithContext(ctx)
	g.change(a, r, EventDelete, name, reference, g.registry.catalog.Deleting, func(ctx context.Context) (func(bool), error) {
		return func(bool) {}, g.registry.catalog.MayDelete(ctx, name, reference)
	})
}

// change passes a request to distribution if the policies allow it. It calls turn to wait for conflicting changes, and
// then allowed to check the policies. After distribution has responded, it calls the function that allowed returned,
// with true if the change succeeded.
func (g *guard) change(
	a *answer, r *http.Request, kind EventKind, name, reference string,
	turn func(ctx context.Context, repository, reference string) (func(), error), allowed func(context.Context) (func(bool), error),
) {
	ctx, cancel := context.WithTimeout(r.Context(), waitToPut)
	defer cancel()
	done, err := turn(ctx, name, reference)
	if err != nil {
		refuse(a, errcode.ErrorCodeUnavailable.WithMessage("images are being collected: try again in a minute"))
		return
	}
	defer done()
	changed, err := allowed(ctx)
	if err != nil {
		reject(a, err)
	} else {
		g.registry.app.ServeHTTP(a, r)
		changed(a.status < 300)
		if a.status >= 300 {
			return // Distribution has sent the error response.
		}
	}
	g.changed(a, r, kind, name, reference, err)
}

// changed reports the event of a change that succeeded, or that failed with the error.
func (g *guard) changed(a *answer, r *http.Request, kind EventKind, name, reference string, err error) {
	g.registry.event(Event{Kind: kind, Account: a.note.Account, Client: g.registry.client(r), Subject: subject(name, reference), Err: err})
}

func subject(name, reference string) string {
	if _, err := digest.Parse(reference); err == nil {
		return name + "@" + reference
	}
	return name + ":" + reference
}

// upload starts an upload with a POST, whose body distribution ignores, or continues the upload with the ID.
func (g *guard) upload(a *answer, r *http.Request, name, id string) {
	actions := []string{"pull", "push"}
	if r.Method == http.MethodDelete {
		actions = []string{"delete"}
	}
	switch {
	case !g.may(r, name, actions...), id != "" && !catalog.ValidUpload(id):
		g.registry.app.ServeHTTP(a, r)
		return
	case id == "":
		g.start(a, r, name)
		return
	}
	began := time.Now()
	size := r.ContentLength
	if r.Method == http.MethodDelete {
		size = 0
	}
	upload, err := g.registry.catalog.Upload(r.Context(), name, id, size)
	if err != nil {
		reject(a, err)
		return
	}
	if d, err := digest.Parse(r.Form.Get("digest")); r.Method == http.MethodPut && err == nil && d.Algorithm() != digest.Canonical {
		if err := upload.CountAlias(r.Context()); err != nil {
			reject(a, err)
			g.registry.config.failed(upload.End(r.Context(), catalog.UploadFailed))
			return
		}
	}
	if r.Method == http.MethodPatch || r.Method == http.MethodPut {
		unseal(r, -1, 0)
		// Distribution accepts no other type, and many clients send the default of their HTTP library.
		r.Header.Set("Content-Type", "application/octet-stream")
		r.Body = &watchedBody{upload.Body(r.Context(), r.Body), a}
	}
	ctx, written := withWriters(upload.Context(r.Context()))
	g.registry.app.ServeHTTP(a, r.WithContext(ctx))
	written.close()
	outcome := catalog.UploadGoesOn
	switch {
	case a.status == http.StatusCreated && !written.had:
		outcome = catalog.UploadStored
	case written.cancelled, a.status >= 500, a.status >= 400 && g.registry.disk.fullSince(began.Add(-fullMemory)):
		outcome = catalog.UploadFailed
	}
	g.registry.config.failed(upload.End(r.Context(), outcome))
}

// fullMemory is the time after a write to a full disk within which a failed upload is attributed to the full disk.
// Distribution drops some write errors, and then reports a wrong length.
const fullMemory = time.Minute

// start starts an upload, or mounts a layer of another repository, if it fits the quotas.
func (g *guard) start(a *answer, r *http.Request, name string) {
	layer, from := r.Form.Get("mount"), r.Form.Get("from")
	if layer == "" || from == "" || !g.may(r, from, "pull") {
		layer, from = "", "" // Distribution mounts nothing.
	}
	done, err := g.registry.catalog.MayStart(r.Context(), name, from, layer)
	if err != nil {
		reject(a, err)
		return
	}
	ctx, written := withWriters(r.Context())
	g.registry.app.ServeHTTP(a, r.WithContext(ctx))
	written.close()
	done(a.status == http.StatusCreated, a.status == http.StatusAccepted)
}

// hide returns the error that the client receives instead of distribution's error, which contains paths of the storage.
func (g *guard) hide(a *answer) error {
	if g.registry.disk.fullSince(a.began) {
		return errcode.ErrorCodeUnavailable.WithMessage("the storage is full")
	}
	return errcode.ErrorCodeUnknown.WithMessage("the storage failed")
}

// watchedBody records the reason why reading a body failed. Distribution only reports that it did.
type watchedBody struct {
	io.ReadCloser
	answer *answer
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch {
	case decided(err):
		b.answer.refusal = refusal(err)
	case err == nil, errors.Is(err, io.EOF), b.answer.refusal != nil:
	case b.answer.body != nil && b.answer.body.err != nil:
		b.answer.refusal = errcode.ErrorCodeSizeInvalid.WithMessage("the body ended early, or was sent too slowly")
	default: // The body is correct, and could not be counted.
		b.answer.refusal = refusal(err)
		b.answer.failed(err)
	}
	return n, err
}

// decisions are the errors with which a request is rejected although nothing has failed.
var decisions = []error{
	images.ErrImmutable, images.ErrQuotaExceeded, images.ErrChanging, shared.ErrUploadGone, shared.ErrUploadBusy, shared.ErrDataGone,
}

func decided(err error) bool {
	return slices.ContainsFunc(decisions, func(decision error) bool { return errors.Is(err, decision) })
}

// refusal converts the error of a policy into an error of the registry protocol.
func refusal(err error) error {
	switch {
	case errors.Is(err, images.ErrImmutable), errors.Is(err, images.ErrQuotaExceeded):
		return errcode.ErrorCodeDenied.WithMessage(err.Error())
	case errors.Is(err, shared.ErrUploadGone):
		return errcode.ErrorCodeBlobUploadUnknown
	case errors.Is(err, shared.ErrUploadBusy): // For the client, its chunk is out of order.
		return errcode.ErrorCodeRangeInvalid.WithMessage("another request to this upload is in progress: wait for it, or start a new upload")
	case errors.Is(err, images.ErrChanging):
		return errcode.ErrorCodeUnavailable.WithMessage("other clients push or delete the same object: try again in a minute")
	case errors.Is(err, shared.ErrDataGone):
		return errcode.ErrorCodeUnavailable.WithMessage("a layer was collected meanwhile, because no image used it: push again")
	default:
		return errcode.ErrorCodeUnavailable.WithMessage("the policy cannot be checked")
	}
}

// reject rejects the request because of the error. An error of the store is also reported to the operator.
func reject(a *answer, err error) {
	if !decided(err) {
		a.failed(err)
	}
	refuse(a, refusal(err))
}

func refuse(a *answer, refusal error) {
	a.refusal = refusal
	a.WriteHeader(http.StatusInternalServerError) // The refusal replaces this status.
}
