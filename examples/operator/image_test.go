package main

import (
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/yaml"
)

// instructions returns the instructions of the Dockerfile.
func instructions(t *testing.T) []string {
	t.Helper()
	data, err := os.ReadFile("Dockerfile")
	require.NoError(t, err)
	var list []string
	for line := range strings.Lines(strings.ReplaceAll(string(data), "\\\n", " ")) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			list = append(list, strings.Join(strings.Fields(line), " "))
		}
	}
	return list
}

// build builds the program as the Dockerfile does.
func build(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "operator")
	for _, line := range instructions(t) {
		run, ok := strings.CutPrefix(line, "RUN ")
		if !ok {
			continue
		}
		for strings.HasPrefix(run, "--mount=") {
			_, run, _ = strings.Cut(run, " ")
		}
		require.Contains(t, run, " -o /operator ")
		command := exec.CommandContext(t.Context(), "sh", "-ec", strings.Replace(run, " -o /operator ", " -o "+program+" ", 1))
		command.Env = append(os.Environ(), "VERSION=v1.2.3", "TARGETOS=", "TARGETARCH=")
		output, err := command.CombinedOutput()
		require.NoError(t, err, string(output))
	}
	return program
}

// The image cannot be built here, without a registry to pull Go from. The tests check everything else.
func TestImage(t *testing.T) {
	program := build(t)
	version, err := exec.CommandContext(t.Context(), program, "-version").Output()
	require.NoError(t, err)
	require.Equal(t, "v1.2.3\n", string(version))
	if file, err := elf.Open(program); err == nil { // On Linux.
		libraries, err := file.ImportedLibraries()
		require.NoError(t, err)
		require.Empty(t, libraries, "there are none in an image from scratch")
		require.NoError(t, file.Close())
	}

	all := instructions(t)
	last := all[len(all)-5:]
	require.Equal(t, []string{
		"FROM scratch",
		"COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/",
		"COPY --from=build /operator /operator",
		"USER 65532:65532",
		`ENTRYPOINT ["/operator"]`,
	}, last)

	data, err := os.ReadFile("config/deployment.yaml")
	require.NoError(t, err)
	var deployment appsv1.Deployment
	require.NoError(t, yaml.UnmarshalStrict(data, &deployment))
	pod := deployment.Spec.Template.Spec
	require.EqualValues(t, 65532, *pod.SecurityContext.RunAsUser)
	require.EqualValues(t, 65532, *pod.SecurityContext.RunAsGroup)
	require.True(t, *pod.Containers[0].SecurityContext.ReadOnlyRootFilesystem)
	require.Nil(t, pod.Containers[0].SecurityContext.RunAsUser)
	require.Empty(t, pod.Containers[0].Command, "that is for the image to say")

	// It listens at the addresses of the deployment.
	usage, err := exec.CommandContext(t.Context(), program, "-h").CombinedOutput()
	require.NoError(t, err)
	ports := pod.Containers[0].Ports
	require.Len(t, ports, 2)
	for i, port := range []int32{8080, 8081} {
		require.Contains(t, string(usage), fmt.Sprintf(`(default ":%d")`, port))
		require.Equal(t, port, ports[i].ContainerPort)
	}
}
