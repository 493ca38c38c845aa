package failover

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheProgramsOfTheGuideCompile(t *testing.T) {
	guide, err := os.ReadFile("../../docs/go.md")
	if err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	module := fmt.Sprintf("module guide\n\ngo 1.22\n\nrequire github.com/libfailover/libfailover/bindings/go v0.1.0\n\n"+
		"replace github.com/libfailover/libfailover/bindings/go => %s\n", here)
	if err := os.WriteFile(filepath.Join(folder, "go.mod"), []byte(module), 0o600); err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(guide), "```go\n")[1:]
	if len(blocks) < 4 {
		t.Fatalf("%d programs", len(blocks))
	}
	for at, block := range blocks {
		program, _, _ := strings.Cut(block, "```")
		place := filepath.Join(folder, fmt.Sprintf("p%d", at))
		if err := os.Mkdir(place, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(place, "main.go"), []byte(program), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	vet := exec.Command("go", "vet", "./...")
	vet.Dir = folder
	vet.Env = append(os.Environ(), "GOFLAGS=-mod=mod")
	if said, err := vet.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, said)
	}
}
