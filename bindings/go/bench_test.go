package failover

import (
	"fmt"
	"path/filepath"
	"sort"
	"testing"
	"time"
)

// BenchmarkObservationToChannel prints how long an event takes from the engine's learning of it to a reader of the channel.
func BenchmarkObservationToChannel(b *testing.B) {
	const servers = 16
	document := config(b, up)
	service := document["services"].([]any)[0].(map[string]any)
	var all, checks []any
	for at := range servers {
		name, role := fmt.Sprintf("web%d", at), "standby"
		if at == 0 {
			role = "primary"
		}
		all = append(all, map[string]any{"name": name, "role": role, "host": fmt.Sprintf("127.0.0.%d", at+1)})
		checks = append(checks, map[string]any{
			"name": fmt.Sprintf("page%d", at), "server": name, "kind": "scripted", "answers": []string{"up"},
			"interval": "50ms", "fast_interval": "20ms", "timeout": "900ms",
		})
	}
	service["servers"], service["checks"] = all, checks
	document["state_dir"] = filepath.Join(b.TempDir())
	engine, err := New(document, quiet())
	if err != nil {
		b.Fatal(err)
	}
	defer engine.Close()
	start(b, engine)
	b.ResetTimer()
	took := make([]time.Duration, 0, b.N)
	for event := range engine.Events() {
		if event.Kind == Observed {
			took = append(took, time.Since(event.Time))
		}
		if len(took) == b.N {
			break
		}
	}
	b.StopTimer()
	sort.Slice(took, func(x, y int) bool { return took[x] < took[y] })
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/1e3, "µs-p50")
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds())/1e3, "µs-p99")
	b.ReportMetric(0, "ns/op")
}

func BenchmarkStatus(b *testing.B) {
	engine := create(b, up)
	start(b, engine)
	b.ResetTimer()
	for range b.N {
		if _, err := engine.Status(); err != nil {
			b.Fatal(err)
		}
	}
}
