package gcrtest

import (
	"encoding/json"
	"net/http"
	"slices"
)

// A failure is an error response of Google: in the form of OAuth, or of its APIs.
type failure struct {
	status        int
	code, message string
	api           bool
	reason        string
}

func oauthFailure(status int, code, message string) *failure {
	return &failure{status: status, code: code, message: message}
}

func apiFailure(status int, code, message string) *failure {
	return &failure{status: status, code: code, message: message, api: true}
}

func (f *failure) send(w http.ResponseWriter) {
	if !f.api {
		send(w, f.status, map[string]string{"error": f.code, "error_description": f.message})
		return
	}
	body := map[string]any{"code": f.status, "message": f.message, "status": f.code}
	if f.reason != "" {
		body["details"] = []any{map[string]any{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": f.reason, "domain": "googleapis.com"}}
	}
	send(w, f.status, map[string]any{"error": body})
}

func send(w http.ResponseWriter, status int, body any) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// disabledAPI returns the response of an API that the project has not enabled, or nil.
func (g *Google) disabledAPI(host string) *failure {
	if slices.Contains(g.DisabledAPIs, host) {
		f := apiFailure(http.StatusForbidden, "PERMISSION_DENIED", "The API "+host+" has not been used in project 123456789012 before or it is disabled. "+
			"Enable it by visiting https://console.developers.google.com/apis/api/"+host+"/overview?project=123456789012 then retry.")
		f.reason = "SERVICE_DISABLED"
		return f
	}
	return nil
}
