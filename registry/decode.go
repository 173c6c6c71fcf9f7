package registry

import (
	"github.com/regcred/regcred/registry/internal/document"
)

// DecodeProfiles reads profiles from JSON: one profile, a list of profiles, or an object with the list under
// "profiles". A field that it does not know is an error, because it is a typing mistake that would otherwise be a login
// that is silently ignored; so is one that is repeated, and anything behind the end. Names of fields are compared
// exactly. The credentials of Google may be a text, or the JSON object itself.
//
// It does not call [Profile.Validate]. Its error is a [field.Errors] with all problems of all profiles, each with the
// full path of its field, such as [1].login.password; it never quotes a value.
func DecodeProfiles(data []byte) ([]Profile, error) {
	root, err := document.ParseJSON(data)
	if err != nil {
		return nil, err
	}
	var d document.Decoder
	profiles := document.List[Profile](&d, root, "profiles")
	return profiles, d.Problems.Err("profiles")
}
