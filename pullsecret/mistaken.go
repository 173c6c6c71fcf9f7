package pullsecret

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
)

// mistaken recognizes data that users often provide in place of the JSON of a pull secret. It returns the problem and
// a hint with the fix; neither quotes the data. The problem is nil if the data is not recognized.
func mistaken(data []byte) (hint string, problem error) {
	text := bytes.TrimSpace(data)
	switch {
	case len(text) == 0:
		return "use the JSON object with the logins", errors.New("is empty")
	case bytes.HasPrefix(data, []byte("\ufeff")):
		return "save it as UTF-8 without a byte order mark", errors.New("starts with a byte order mark")
	case bytes.HasPrefix(data, []byte("\xff\xfe")), bytes.HasPrefix(data, []byte("\xfe\xff")), looksLikeUTF16(data):
		return "save it as UTF-8 (PowerShell: Set-Content -Encoding utf8NoBOM)", errors.New("is UTF-16")
	case quotedObject(text):
		return "encode it once (Terraform: jsonencode, or stringData, but not both)",
			errors.New("is JSON in quotes: a text that holds the object, in place of the object")
	case base64OfObject(text):
		return "put the JSON into stringData, or its base64 into data, but encode it once", errors.New("is the base64 of JSON: it was encoded twice")
	case bytes.HasPrefix(text, []byte("apiVersion:")), bytes.HasPrefix(text, []byte("kind:")), bytes.HasPrefix(text, []byte("auths:")), bytes.HasPrefix(text, []byte("---")):
		return "use the JSON object with the logins: a kubelet does not read YAML", errors.New("is YAML")
	case bytes.HasPrefix(text, []byte("'")) && json.Valid(bytes.Trim(text, "'")):
		return "remove the quotes, which a shell would have removed", errors.New("is JSON in single quotes")
	}
	return "", nil
}

// looksLikeUTF16 recognizes UTF-16 without a byte order mark by the zero beside the first brace.
func looksLikeUTF16(data []byte) bool {
	return bytes.HasPrefix(data, []byte("{\x00")) || bytes.HasPrefix(data, []byte("\x00{"))
}

func quotedObject(text []byte) bool {
	var inner string
	return text[0] == '"' && json.Unmarshal(text, &inner) == nil && strings.HasPrefix(strings.TrimSpace(inner), "{")
}

func base64OfObject(text []byte) bool {
	compact := strings.TrimRight(strings.Join(strings.Fields(string(text)), ""), "=")
	inner, err := base64.RawStdEncoding.DecodeString(compact)
	return err == nil && bytes.HasPrefix(bytes.TrimSpace(inner), []byte("{"))
}
