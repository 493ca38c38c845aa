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
	acts := ""
	for at, block := range blocks {
		program, _, _ := strings.Cut(block, "```")
		place := filepath.Join(folder, fmt.Sprintf("p%d", at))
		if err := os.Mkdir(place, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(place, "main.go"), []byte(program), 0o600); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(program, "engine.Action(") {
			acts = fmt.Sprintf("./p%d", at)
		}
	}
	vet := exec.Command("go", "vet", "./...")
	vet.Dir = folder
	vet.Env = append(os.Environ(), "GOFLAGS=-mod=mod")
	if said, err := vet.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	// The one with an action carries it out: the primary of this configuration fails after a while, and another server is there.
	shared, err := os.ReadFile("../../tests/bindings/action.json")
	if err != nil {
		t.Fatal(err)
	}
	document := strings.Replace(string(shared), "@STATE@", t.TempDir(), 1)
	if err := os.WriteFile(filepath.Join(folder, "failover.json"), []byte(document), 0o600); err != nil {
		t.Fatal(err)
	}
	run := exec.Command("go", "run", acts)
	run.Dir, run.Env = folder, vet.Env
	said, err := run.Output()
	if err != nil || string(said) != "failover 1: clients go to web2 at 127.0.0.2:8002\n" {
		t.Errorf("%s: %v\n%s", acts, err, said)
	}
}
