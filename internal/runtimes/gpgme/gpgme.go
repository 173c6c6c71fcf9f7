// Package gpgme declares the names that go.podman.io/image/v5/signature needs to compile, without their functions: each
// call fails. It replaces the binding of libgpgme, whose C headers are not on every machine. The runtimes' tests do not
// check signatures, as nodes do not by default.
package gpgme

import (
	"errors"
	"io"
	"os"
)

var errMissing = errors.New("gpgme: not a part of these tests")

type (
	// Context is a session with GPG.
	Context struct{}
	// Key is a key.
	Key struct{}
	// Data is a buffer.
	Data struct{}
	// Protocol, PinEntryMode, SigMode, Validity and Callback are types of the binding.
	Protocol     int
	PinEntryMode int
	SigMode      int
	Validity     int
	Callback     func(uidHint string, prevWasBad bool, f *os.File) error
	// Signature is the result of the check of a signature.
	Signature struct {
		Fingerprint    string
		Status         error
		Validity       Validity
		ValidityReason error
		WrongKeyUsage  bool
	}
	// ImportResult lists imported keys.
	ImportResult struct{ Imports []ImportStatus }
	// ImportStatus is the result for one key.
	ImportStatus struct {
		Fingerprint string
		Result      error
	}
)

// The constants that go.podman.io/image uses.
const (
	ProtocolOpenPGP  Protocol     = 0
	PinEntryLoopback PinEntryMode = 4
	SigModeNormal    SigMode      = 0
	ValidityNever    Validity     = 3
)

// New fails.
func New() (*Context, error) { return nil, errMissing }

// NewDataBytes fails.
func NewDataBytes([]byte) (*Data, error) { return nil, errMissing }

// NewDataWriter fails.
func NewDataWriter(io.Writer) (*Data, error) { return nil, errMissing }

// The methods fail, or do nothing.
func (c *Context) SetProtocol(Protocol) error                        { return errMissing }
func (c *Context) SetEngineInfo(_ Protocol, _, _ string) error       { return errMissing }
func (c *Context) SetArmor(bool)                                     {}
func (c *Context) SetTextMode(bool)                                  {}
func (c *Context) SetCallback(Callback) error                        { return errMissing }
func (c *Context) SetPinEntryMode(PinEntryMode) error                { return errMissing }
func (c *Context) GetKey(string, bool) (*Key, error)                 { return nil, errMissing }
func (c *Context) Sign(_ []*Key, _, _ *Data, _ SigMode) error        { return errMissing }
func (c *Context) Verify(_, _, _ *Data) (string, []Signature, error) { return "", nil, errMissing }
func (c *Context) Import(*Data) (*ImportResult, error)               { return nil, errMissing }
func (k *Key) Fingerprint() string                                   { return "" }
