//go:build gcr

package main

import (
	"github.com/regcred/regcred/helper"
	"github.com/regcred/regcred/providers/gcr"
	"github.com/regcred/regcred/registry"
)

func init() { extra[registry.GCR] = gcr.Provider{Subjects: helper.PodSubjects{}} }
