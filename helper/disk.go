package helper

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/profilestore"
)

// A Disk keeps issued credentials in files of a folder, for programs that start a process for each call. A lock on a file
// makes many processes at once call the issuer once. A Disk is safe for concurrent use.
//
// A credential is kept until a fifth of its lifetime is left, and for a kubelet until half is left, but for 6 hours at
// most. If the issuer cannot be reached then, does not respond or limits the rate, the credential is kept until it
// expires, and Helper.Warn is called. Passwords of profiles, credentials without an expiry and credentials of pods are
// never written. To discard a credential that was revoked early, delete the folder.
//
// The folder belongs to one user. Its mode is 0700, and the mode of its files is 0600. Calls fail if other users may
// enter the folder. Any process that can read the folder can use its credentials until they expire. The name of a file
// is a keyed hash of the profile, so the credential of a profile that was changed is not used. A half-written, damaged
// or foreign file is ignored, and if the folder cannot be used, each call requests a credential from the issuer.
type Disk struct {
	// Dir is the folder, such as a folder in the user's cache, or /var/cache/regcred on a node. It is made if it does not
	// exist. It is required.
	Dir string
}

// A kept is the content of a file.
type kept struct {
	Anonymous bool      `json:"anonymous,omitempty"`
	Username  string    `json:"username,omitempty"`
	Password  string    `json:"password,omitempty"`
	IssuedAt  time.Time `json:"issuedAt"`
	ExpiresAt time.Time `json:"expiresAt"`
	// WrittenAt is the time of the write. If it is in the future, the clock was set back, and the file is not used.
	WrittenAt time.Time `json:"writtenAt"`
}

// A found is a credential to serve.
type found struct {
	credentials.Credential
	// Late is the error that prevented the renewal of a credential from the disk that is due and still valid. It is nil for
	// all other credentials.
	Late error
}

// get returns the credential of the profile from its file. It calls issue if there is none, or if it is due. If issue
// fails because of an [outage], it returns the credential of the file while that is valid. Errors of the disk only cause a
// call to issue, except that get fails if other users may enter the folder.
func (d *Disk) get(ctx context.Context, p registry.Profile, r renewal, issue func() (credentials.Credential, error)) (found, error) {
	if usable, err := d.prepare(); err != nil {
		return found{}, err
	} else if !usable {
		c, err := issue()
		return found{Credential: c}, err
	}
	name, err := d.name(ctx, p)
	if err != nil {
		c, err := issue()
		return found{Credential: c}, err
	}
	if c, due, ok := d.read(name, r, time.Now()); ok && !due {
		return found{Credential: c}, nil
	}
	c, err := d.renew(ctx, name, p, r, issue)
	if err == nil || !outage(err) {
		return found{Credential: c}, err
	}
	c, due, ok := d.read(name, r, time.Now())
	switch {
	case !ok:
		return found{}, err
	case !due: // Another process issued it.
		return found{Credential: c}, nil
	}
	return found{c, err}, nil
}

// outage reports whether the issuer gave no response about the login. The profile of a credential on the disk worked
// before, so a host that is not found is an outage of DNS and not a misspelling.
func outage(err error) bool {
	return registry.Temporary(err) || registry.CodeOf(err) == registry.ErrHostNotFound
}

// renew calls issue while it holds the lock of the file, and writes the file. If another process did so before, renew
// returns the credential of that process.
func (d *Disk) renew(ctx context.Context, name string, p registry.Profile, r renewal, issue func() (credentials.Credential, error)) (credentials.Credential, error) {
	unlock, err := lock(ctx, name+".lock")
	if err != nil {
		if ctx.Err() != nil {
			cause := context.Cause(ctx)
			code := registry.ErrCanceled
			if errors.Is(cause, context.DeadlineExceeded) {
				code = registry.ErrTimeout
			}
			return credentials.Credential{}, failed(p, code, fmt.Errorf("another call for this profile waits for the issuer: %w", cause))
		}
		return issue()
	}
	defer unlock()
	if c, due, ok := d.read(name, r, time.Now()); ok && !due {
		return c, nil
	}
	c, err := issue()
	if err == nil && !c.ExpiresAt.IsZero() {
		d.write(name, c)
	}
	return c, err
}

// prepare makes the folder, and reports whether it can be used. It fails if other users may enter the folder.
func (d *Disk) prepare() (usable bool, err error) {
	if d.Dir == "" {
		return false, errors.New("Disk.Dir is not set")
	}
	if err := os.MkdirAll(d.Dir, 0o700); err != nil {
		return false, nil
	}
	info, err := os.Stat(d.Dir)
	switch {
	case err != nil:
		return false, nil
	case !private(info):
		return false, fmt.Errorf("open cache folder: %s can be entered by other users; run chmod 700 on it", d.Dir)
	}
	return true, nil
}

// name returns the path of the profile's file. The file name is a hash of the whole profile, keyed by random bytes that
// are stored in the folder, so that it reveals nothing about a password.
func (d *Disk) name(ctx context.Context, p registry.Profile) (string, error) {
	key, err := d.key()
	if err != nil {
		return "", err
	}
	text, err := profilestore.Encode(ctx, p, func(_ context.Context, _ profilestore.Place, s credentials.Secret) (string, error) {
		return s.Reveal(), nil
	})
	if err != nil {
		return "", err
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(p.Tenant + "\x00"))
	mac.Write(text)
	return filepath.Join(d.Dir, hex.EncodeToString(mac.Sum(nil))), nil
}

const keySize = 32

// key returns the hash key of the folder, which the first process creates. If two processes create a key at once, the
// link of one fails, and both read the same file.
func (d *Disk) key() ([]byte, error) {
	path := filepath.Join(d.Dir, "key")
	if key, err := os.ReadFile(path); err == nil && len(key) == keySize {
		return key, nil
	}
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // It never fails.
	temporary, err := writeTemporary(d.Dir, key)
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.Remove(temporary) }()
	if err := os.Link(temporary, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	stored, err := os.ReadFile(path)
	if err == nil && len(stored) != keySize {
		err = errors.New("the key of the cache folder is damaged")
	}
	return stored, err
}

// read returns the credential in the file, and reports whether it is due for renewal and whether it is valid.
func (d *Disk) read(name string, r renewal, now time.Time) (c credentials.Credential, due, ok bool) {
	text, err := os.ReadFile(name)
	var k kept
	if err != nil || json.Unmarshal(text, &k) != nil {
		return credentials.Credential{}, false, false
	}
	c = credentials.Credential{
		Anonymous: k.Anonymous, Username: k.Username, Password: credentials.NewSecret(k.Password), IssuedAt: k.IssuedAt, ExpiresAt: k.ExpiresAt,
	}
	if now.Before(k.WrittenAt) || k.ExpiresAt.IsZero() || c.Validate(now) != nil {
		return credentials.Credential{}, false, false
	}
	return c, r.due(k.WrittenAt, k.ExpiresAt, now), true
}

// write replaces the file in one step. An error costs the next process a call to the issuer.
func (d *Disk) write(name string, c credentials.Credential) {
	text, err := json.Marshal(kept{c.Anonymous, c.Username, c.Password.Reveal(), c.IssuedAt, c.ExpiresAt, time.Now()})
	if err != nil {
		return
	}
	temporary, err := writeTemporary(d.Dir, text)
	if err != nil {
		return
	}
	if os.Rename(temporary, name) != nil {
		_ = os.Remove(temporary)
	}
}

// writeTemporary writes a file with the mode 0600, which os.CreateTemp gives it.
func writeTemporary(dir string, text []byte) (string, error) {
	f, err := os.CreateTemp(dir, "new-*")
	if err != nil {
		return "", err
	}
	_, err = f.Write(text)
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return "", err
	}
	return f.Name(), nil
}
