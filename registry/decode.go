package registry

import (
	"github.com/regcred/regcred/registry/internal/document"
)

// DecodeProfiles decodes profiles from JSON: one profile, a list of profiles, or an object with the list under
// "profiles". An unknown field is an error, because it is a typing mistake that would otherwise silently drop a login.
// A repeated field and data after the end are errors too. Names of fields are compared exactly. Google credentials may
// be a string, or the JSON object itself.
//
// It does not call [Profile.Validate]. Its error is a [field.Errors] with all problems of all profiles, each with the
// full path of its field, such as [1].login.password, and with its line if data has several. It never quotes a value.
// YAML, and the references {env: NAME} and {file: PATH} to secrets, are for package registry/profilefile.
func DecodeProfiles(data []byte) ([]Profile, error) {
	root, err := document.ParseJSON(data, "a profile or a list of profiles")
	if err != nil {
		return nil, err
	}
	var d document.Decoder
	profiles := document.List[Profile](&d, root, "profiles")
	return profiles, d.Problems.Err("profiles")
}
