// A program with calls of its own to an application that the engine fails over: an http.RoundTripper that sends each request to the
// server that is active, and takes part in the step that moves the traffic.
//
//	application -config failover.toml app1=10.0.0.21:80 app2=10.0.0.22:80
//	application -lab target/debug/examples/lab        servers of its own, and a real failover
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	failover "github.com/libfailover/libfailover/bindings/go"
	"github.com/libfailover/libfailover/examples/go/internal/lab"
)

const (
	every = 200 * time.Millisecond
	limit = time.Second
)

var errNobody = errors.New("no server is known to be the active one")

// route is where requests go: an http.RoundTripper.
type route struct {
	servers map[string]string
	report  func(server string, outcome failover.Outcome)
	next    http.RoundTripper

	lock       sync.Mutex
	active     string
	generation uint64
}

// learn says who is active before the first failover: the status knows.
func (r *route) learn(server string) {
	r.lock.Lock()
	defer r.lock.Unlock()
	if r.generation == 0 && r.servers[server] != "" {
		r.active = server
	}
}

// isOutdated: a lower generation comes from an engine that is not in charge any more.
func (r *route) isOutdated(task failover.Task) bool {
	r.generation = max(r.generation, task.Generation)
	return task.Generation < r.generation
}

// takeFrom is the step "route_out".
func (r *route) takeFrom(_ context.Context, task failover.Task) failover.Answer {
	r.lock.Lock()
	defer r.lock.Unlock()
	if r.isOutdated(task) {
		return failover.NoEffect("there was a later failover")
	}
	if r.active == task.Server {
		r.active = ""
	}
	return failover.Done("own calls to " + task.Server + " have stopped")
}

// sendTo is the steps "route_in" and "route_restore"; asked again it finds its work done.
func (r *route) sendTo(_ context.Context, task failover.Task) failover.Answer {
	r.lock.Lock()
	defer r.lock.Unlock()
	if r.isOutdated(task) || r.servers[task.Server] == "" {
		return failover.NoEffect("there was a later failover, or no address was given")
	}
	r.active = task.Server
	return failover.Done("own calls go to " + task.Server)
}

// RoundTrip sends a request to whoever is active, and tells the engine what came of it.
func (r *route) RoundTrip(request *http.Request) (*http.Response, error) {
	r.lock.Lock()
	server := r.active
	r.lock.Unlock()
	if server == "" {
		return nil, errNobody
	}
	request = request.Clone(request.Context())
	request.URL.Host = r.servers[server]
	response, err := r.next.RoundTrip(request)
	var timeout net.Error
	switch {
	case err == nil && response.StatusCode < 500:
		r.report(server, failover.OutcomeOK)
	case err == nil:
		r.report(server, failover.OutcomeRejected)
	case errors.As(err, &timeout) && timeout.Timeout():
		r.report(server, failover.OutcomeTimeout)
	case errors.Is(err, syscall.ECONNREFUSED):
		r.report(server, failover.OutcomeRefused)
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.EOF):
		r.report(server, failover.OutcomeReset)
	default:
		r.report(server, failover.OutcomeError)
	}
	return response, err
}

// ask makes one request by way of the route: who answered it as it should be, or nobody.
func ask(ctx context.Context, client *http.Client) string {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://application/", nil)
	if err != nil {
		return ""
	}
	response, err := client.Do(request)
	if err != nil {
		return ""
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 1<<20))
	if response.StatusCode != http.StatusOK {
		return ""
	}
	return response.Header.Get("X-Server")
}

func run() error {
	config := flag.String("config", "", "the engine's configuration")
	program := flag.String("lab", "", "start servers by this program, and kill the active one")
	flag.Parse()
	servers := map[string]string{}
	for _, argument := range flag.Args() {
		name, address, found := strings.Cut(argument, "=")
		if !found {
			return fmt.Errorf("%q is no NAME=HOST:PORT", argument)
		}
		servers[name] = address
	}
	var site *lab.Lab
	if *program != "" {
		var err error
		if site, err = lab.Start(*program, "application"); err != nil {
			return err
		}
		defer site.Close()
		*config, servers = site.Config, site.Servers
	}
	engine, err := failover.NewFromFile(*config)
	if err != nil {
		return err
	}
	defer engine.Close()
	service := ""
	route := &route{servers: servers, next: &http.Transport{DisableKeepAlives: true}}
	route.report = func(server string, outcome failover.Outcome) { _ = engine.ReportOutcome(service, server, outcome) }
	for step, function := range map[string]failover.TaskFunc{"route_out": route.takeFrom, "route_in": route.sendTo, "route_restore": route.sendTo} {
		if err := engine.Action(step, function); err != nil {
			return err
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := engine.Start(ctx); err != nil {
		return err
	}
	moved := make(chan struct{})
	go func() {
		var once sync.Once
		for event := range engine.Events() {
			if event.Severity >= failover.Info {
				log.Printf("%s: %s", event.Kind, event.Message)
			}
			if event.Kind == failover.FailoverCompleted {
				once.Do(func() { close(moved) })
			}
		}
	}()
	client := &http.Client{Transport: route, Timeout: limit}
	// look asks once, with what is known now; ready: another server would take over.
	look := func() (who string, ready bool) {
		status, err := engine.Status()
		if err != nil || len(status.Services) == 0 {
			return "", false
		}
		first := &status.Services[0]
		service = first.Name
		route.learn(first.Primary)
		return ask(ctx, client), first.Forecast.WouldFailOver
	}
	if site != nil {
		if err := prove(ctx, site, look, moved); err != nil {
			return err
		}
		return engine.Close()
	}
	before := ""
	for ctx.Err() == nil {
		if who, _ := look(); who != "" && who != before {
			log.Printf("answered by %s", who)
			before = who
		}
		select {
		case <-ctx.Done():
		case <-time.After(every):
		}
	}
	return engine.Close()
}

// prove kills the active server and waits until everybody is served by the other one.
func prove(ctx context.Context, site *lab.Lab, look func() (string, bool), moved <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	wait := func(server string, ready bool) error {
		for {
			if who, is := look(); who == server && (is || !ready) {
				return nil
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("%s never answered: %w", server, context.Cause(ctx))
			case <-time.After(every / 4):
			}
		}
	}
	if err := wait("app1", true); err != nil {
		return err
	}
	if _, err := site.Order("kill app1"); err != nil {
		return err
	}
	if err := wait("app2", false); err != nil {
		return err
	}
	log.Print("own calls are answered by app2")
	select {
	case <-moved:
	case <-ctx.Done():
		return errors.New("the failover did not complete")
	}
	through, err := site.Order("answers")
	if err != nil {
		return err
	}
	if through != "app2 app2" {
		return fmt.Errorf("through the load balancers answers %s", through)
	}
	log.Print("through both load balancers too")
	return nil
}

func main() {
	if err := run(); err != nil {
		log.SetFlags(0)
		fmt.Fprintln(os.Stderr, "application:", err)
		os.Exit(1)
	}
}
