package failover

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// silent is a check of a server that takes connections and never says a word, and says on a channel that somebody came.
func silent(t *testing.T) (map[string]any, <-chan struct{}) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	came := make(chan struct{}, 1)
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			defer connection.Close()
			select {
			case came <- struct{}{}:
			default:
			}
		}
	}()
	t.Cleanup(func() { listener.Close() })
	return map[string]any{"kind": "http", "url": "http://" + listener.Addr().String() + "/", "timeout": "60s"}, came
}

func TestReportsBeforeTheStartAndBesideARunningEngine(t *testing.T) {
	ctx := context.Background()
	document := config(t, map[string]any{"kind": "scripted", "answers": []string{"down refused: nobody there"}})
	shop := config(t, up)["services"].([]any)[0].(map[string]any)
	shop["name"] = "shop"
	document["services"] = append(document["services"].([]any), shop)
	engine, err := New(document, quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	for range 2 {
		summary, err := engine.CheckAll(ctx)
		if err != nil || summary.Passed() || summary.AllUp || len(summary.Checks) != 2 {
			t.Fatal(err, summary)
		}
		if page := summary.Checks[0]; page.Service != "site" || page.Server != "web1" || page.Verdict != "down" || page.Message != "nobody there" {
			t.Error(page)
		}
		if !json.Valid(summary.Raw) {
			t.Error(string(summary.Raw))
		}
		report, err := engine.Doctor(ctx, "site")
		if err != nil || report.Ready || report.Forecast != nil {
			t.Fatal(err, report)
		}
		if first := report.Findings[0]; first.Code != FindingCheckNotUp || !first.Blocking || first.Server != "web1" || first.Why == "" {
			t.Error(first)
		}
		if report, err = engine.Doctor(ctx, "shop"); err != nil || !report.Ready {
			t.Error(err, report)
		}
		if status, _ := engine.Status(); status.Engine == "new" {
			start(t, engine)
		}
	}
	for _, name := range []string{"", "nobody", "a\x00b"} {
		if _, err := engine.Doctor(ctx, name); !errors.Is(err, ErrInvalidArgument) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if err := engine.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := engine.CheckAll(ctx); !errors.Is(err, ErrState) {
		t.Error(err)
	}
}

func TestAContextAndAStopEndAReport(t *testing.T) {
	check, came := silent(t)
	engine, err := New(config(t, check), quiet())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := engine.CheckAll(ctx); !errors.Is(err, ErrTimeout) || !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	<-came
	ctx, cancel = context.WithCancel(context.Background())
	ended := make(chan error)
	go func() {
		_, err := engine.Doctor(ctx, "")
		ended <- err
	}()
	<-came
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	go func() {
		_, err := engine.CheckAll(context.Background())
		ended <- err
	}()
	if err := engine.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, ErrState) {
		t.Error(err)
	}
}

func TestConfigurationsAreValidatedAndShownWithoutSecrets(t *testing.T) {
	document := config(t, map[string]any{"kind": "http", "url": "http://127.0.0.1:1/", "headers": map[string]any{"Authorization": "hunter-of-two"}})
	good, err := Validate(document)
	if err != nil || !good.Valid || good.File != "" || len(good.Errors) != 0 {
		t.Error(err, good)
	}
	path := filepath.Join(t.TempDir(), "failover.toml")
	if err := os.WriteFile(path, []byte("version = 1\nservces = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	bad, err := ValidateFile(path)
	if err != nil || bad.Valid || bad.File != path {
		t.Error(err, bad)
	}
	found := false
	for _, problem := range bad.Errors {
		found = found || problem.Path == "/servces" && problem.Line == 2 && problem.Reason != "" && problem.Remedy != ""
	}
	if !found {
		t.Error(bad.Errors)
	}
	if none, err := ValidateFile("/nowhere/failover.toml"); err != nil || none.Valid {
		t.Error(err, none)
	}
	effective, err := EffectiveConfig(document)
	if err != nil || !strings.Contains(string(effective), "success_threshold") || strings.Contains(string(effective), "hunter-of-two") {
		t.Error(err, string(effective))
	}
	if _, err := EffectiveConfigFromFile(path); !errors.Is(err, ErrConfig) {
		t.Error(err)
	}
	engine := create(t, up)
	shown, err := engine.Config()
	if err != nil || !json.Valid(shown) || !strings.Contains(string(shown), `"site"`) {
		t.Error(err, string(shown))
	}
}
