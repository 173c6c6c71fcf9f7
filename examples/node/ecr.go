//go:build ecr

package main

import (
	"github.com/regcred/regcred/helper"
	"github.com/regcred/regcred/providers/ecr"
	"github.com/regcred/regcred/registry"
)

func init() { extra[registry.ECR] = ecr.Provider{Subjects: helper.PodSubjects{}} }
