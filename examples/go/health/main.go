// An HTTP server whose health endpoint follows the engine, and which holds its requests while a failover runs.
//
//	health -config failover.toml -service orders -listen 127.0.0.1:8000
//	health -lab target/debug/examples/lab        a pair of its own, and a real failover
//
// GET /health is 200 while the primary is there and no failover runs, otherwise 503, with the reason in JSON: for a load balancer, or an
// orchestrator. GET / is a request that needs the primary.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	failover "github.com/libfailover/libfailover/bindings/go"
	"github.com/libfailover/libfailover/examples/go/internal/lab"
)

const (
	// How long a request waits while the gate is held.
	patience = 10 * time.Second
	// Requests a second that are let in for a while after a failover.
	rate = 100
	slow = 2 * time.Second
)

var errHeld = errors.New("a failover runs: come back in a moment")

// gate is where requests wait while a failover runs (hold), and where they are let in at a rate afterwards (resume). Those that are
// inside when it is held are waited for (drain).
type gate struct {
	lock    sync.Mutex
	held    bool
	changed chan struct{}
	next    time.Time
	until   time.Time
	inside  sync.WaitGroup
}

func newGate() *gate { return &gate{changed: make(chan struct{})} }

func (g *gate) hold() {
	g.lock.Lock()
	defer g.lock.Unlock()
	g.held = true
}

// drain waits until whoever is inside is out, or ctx ends.
func (g *gate) drain(ctx context.Context) bool {
	out := make(chan struct{})
	go func() {
		g.inside.Wait()
		close(out)
	}()
	select {
	case <-out:
		return true
	case <-ctx.Done():
		return false
	}
}

// resume opens the gate: slowly if the server behind it is a new one.
func (g *gate) resume(slowly bool) {
	g.lock.Lock()
	defer g.lock.Unlock()
	g.held = false
	if slowly {
		g.next = time.Now()
		g.until = g.next.Add(slow)
	}
	close(g.changed)
	g.changed = make(chan struct{})
}

// enter lets a request in; leave is called when it is done.
func (g *gate) enter(ctx context.Context) (leave func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		g.lock.Lock()
		if !g.held {
			wait := time.Duration(0)
			if now := time.Now(); now.Before(g.until) {
				if g.next.Before(now) {
					g.next = now
				}
				// Jitter: several servers like this one must not keep step.
				g.next = g.next.Add(time.Duration((0.5 + rand.Float64()) * float64(time.Second/rate)))
				wait = g.next.Sub(now)
			}
			g.inside.Add(1)
			g.lock.Unlock()
			select {
			case <-time.After(wait):
				return g.inside.Done, nil
			case <-ctx.Done():
				g.inside.Done()
				return nil, errHeld
			}
		}
		changed := g.changed
		g.lock.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, errHeld
		}
	}
}

// steer moves the gate by the engine's events, until the engine has stopped.
func steer(engine *failover.Engine, service string, gate *gate) {
	for event := range engine.Events() {
		if event.Severity >= failover.Info {
			log.Printf("%s: %s", event.Kind, event.Message)
		}
		if event.Service != service {
			continue
		}
		switch event.Kind {
		case failover.FailoverStarted:
			gate.hold()
			go func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				log.Printf("held; everybody is out: %t", gate.drain(ctx))
			}()
		case failover.FailoverCompleted:
			gate.resume(true)
		case failover.RolledBack, failover.ManualIntervention:
			gate.resume(false)
		}
	}
}

// health is what /health answers.
type health struct {
	Healthy bool   `json:"healthy"`
	State   string `json:"state"`
	Primary string `json:"primary"`
	// WouldFailOver: if the primary died now. Why is the alarm before the night it is needed.
	WouldFailOver bool   `json:"would_fail_over"`
	Why           string `json:"why"`
}

func look(engine *failover.Engine, name string) health {
	status, err := engine.Status()
	if err != nil {
		return health{Why: err.Error()}
	}
	service := status.Service(name)
	if service == nil {
		return health{Why: "there is no service " + name}
	}
	now := health{State: service.State, Primary: service.Primary, WouldFailOver: service.Forecast.WouldFailOver, Why: service.Forecast.Message}
	switch {
	case status.Faulted != "":
		now.Why = status.Faulted
	case service.Primary == "":
		now.Why = "no primary is known yet"
	case service.State == "failing" || service.State == "failover_in_progress" || service.State == "manual_intervention":
		now.Why = service.Reason
	default:
		now.Healthy = true
	}
	return now
}

func serve(engine *failover.Engine, service string, gate *gate) http.Handler {
	routes := http.NewServeMux()
	routes.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		now := look(engine, service)
		w.Header().Set("Content-Type", "application/json")
		if !now.Healthy {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(now)
	})
	routes.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		leave, err := gate.enter(r.Context())
		if err != nil {
			w.Header().Set("Retry-After", "1")
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		defer leave()
		fmt.Fprintf(w, "served with %s\n", look(engine, service).Primary)
	})
	return routes
}

func run() error {
	config := flag.String("config", "", "the engine's configuration")
	service := flag.String("service", "", "the service that is followed")
	listen := flag.String("listen", "127.0.0.1:8000", "where to serve HTTP")
	program := flag.String("lab", "", "start a pair by this program, and kill its primary")
	flag.Parse()
	var pair *lab.Lab
	if *program != "" {
		var err error
		if pair, err = lab.Start(*program); err != nil {
			return err
		}
		defer pair.Close()
		*config, *service, *listen = pair.Config, pair.Service, "127.0.0.1:0"
	}
	engine, err := failover.NewFromFile(*config)
	if err != nil {
		return err
	}
	defer engine.Close()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := engine.Start(ctx); err != nil {
		return err
	}
	gate := newGate()
	go steer(engine, *service, gate)

	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	log.Printf("http://%s/health", listener.Addr())
	server := &http.Server{Handler: serve(engine, *service, gate), ReadHeaderTimeout: 5 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()

	if pair != nil {
		if err := prove(ctx, pair, "http://"+listener.Addr().String()); err != nil {
			return err
		}
		stop()
	}
	select {
	case <-ctx.Done():
	case err := <-failed:
		return err
	}
	ending, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := server.Shutdown(ending); err != nil {
		return err
	}
	return engine.Close()
}

// prove kills the primary once a failover would go through, and asks until the server is well again with the other one.
func prove(ctx context.Context, pair *lab.Lab, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	ask := func(path string) (int, []byte, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+path, nil)
		if err != nil {
			return 0, nil, err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return 0, nil, err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		return response.StatusCode, body, err
	}
	var last health
	wait := func(wanted func(code int, now health) bool) error {
		for {
			code, body, err := ask("/health")
			if err != nil {
				return fmt.Errorf("%w; the last answer was %+v", err, last)
			}
			var now health
			if err := json.Unmarshal(body, &now); err != nil {
				return err
			}
			if now != last {
				log.Printf("/health: %d %s", code, body)
			}
			last = now
			if wanted(code, now) {
				return nil
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	if err := wait(func(code int, now health) bool {
		return code == http.StatusOK && now.Primary == "db1" && now.WouldFailOver
	}); err != nil {
		return err
	}
	log.Print("killing db1")
	if _, err := pair.Order("kill db1"); err != nil {
		return err
	}
	if err := wait(func(code int, _ health) bool { return code == http.StatusServiceUnavailable }); err != nil {
		return err
	}
	// Whoever comes while the failover runs waits at the gate; nobody is turned away.
	for {
		code, body, err := ask("/")
		if err != nil {
			return fmt.Errorf("a request had no answer: %w", err)
		}
		if code != http.StatusOK {
			return fmt.Errorf("a request was answered %d %q", code, body)
		}
		if string(body) == "served with db2\n" {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	return wait(func(code int, now health) bool { return code == http.StatusOK && now.Primary == "db2" })
}

func main() {
	log.SetFlags(log.Lmicroseconds)
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "health:", err)
		os.Exit(1)
	}
}
