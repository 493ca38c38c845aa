// A database/sql pool that follows the primary: it connects to whichever server the engine says is primary, throws away what leads to
// another one, and comes back after a failover at a steady rate.
//
//	pool -config failover.toml -service orders -user app -database app db1=10.0.0.1:5432 db2=10.0.0.2:5432
//	pool -lab target/debug/examples/lab          a pair of its own, and a real failover
package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/lib/pq"
	failover "github.com/libfailover/libfailover/bindings/go"
	"github.com/libfailover/libfailover/examples/go/internal/lab"
)

const (
	size = 8
	// New connections a second, for a while after a failover.
	rate = 20
	// How long one statement may take, with the connection for it.
	patience = 5 * time.Second
)

var errHeld = errors.New("a failover is in flight")

// following connects to the primary. It is a driver.Connector: sql.OpenDB makes a pool of it.
type following struct {
	user, database string
	servers        map[string]string

	// What is connected carries the epoch it was made in; what is of an older one leads elsewhere.
	epoch atomic.Uint64

	lock    sync.Mutex
	primary string
	held    bool
	changed chan struct{}
	next    time.Time
	until   time.Time
}

func newFollowing(user, database string, servers map[string]string) *following {
	return &following{user: user, database: database, servers: servers, changed: make(chan struct{})}
}

func (f *following) change(how func()) {
	f.lock.Lock()
	defer f.lock.Unlock()
	how()
	close(f.changed)
	f.changed = make(chan struct{})
}

// hold: connect to nobody, and use nothing that is connected.
func (f *following) hold() {
	f.change(func() { f.held = true })
	f.epoch.Add(1)
}

// follow: connect to this server; slowly if it has just taken over.
func (f *following) follow(primary string, justTookOver bool) {
	f.change(func() {
		if f.primary != primary {
			f.epoch.Add(1)
		}
		f.primary, f.held = primary, false
		if justTookOver {
			f.next = time.Now()
			f.until = f.next.Add(2 * size * time.Second / rate)
		}
	})
}

// turn waits until there is somebody to connect to, and it is this connection's turn.
func (f *following) turn(ctx context.Context) (address string, epoch uint64, err error) {
	for {
		f.lock.Lock()
		address, known := f.servers[f.primary]
		if known && !f.held {
			wait := time.Duration(0)
			if now := time.Now(); now.Before(f.until) {
				// Jitter: several programs like this one must not keep step.
				if f.next.Before(now) {
					f.next = now
				}
				f.next = f.next.Add(time.Duration((0.5 + rand.Float64()) * float64(time.Second/rate)))
				wait = f.next.Sub(now)
			}
			epoch := f.epoch.Load()
			f.lock.Unlock()
			select {
			case <-time.After(wait):
				return address, epoch, nil
			case <-ctx.Done():
				return "", 0, ctx.Err()
			}
		}
		changed := f.changed
		f.lock.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return "", 0, errors.Join(errHeld, ctx.Err())
		}
	}
}

func (f *following) Connect(ctx context.Context) (driver.Conn, error) {
	address, epoch, err := f.turn(ctx)
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	connector, err := pq.NewConnector(fmt.Sprintf(
		"host=%s port=%s user=%s dbname=%s sslmode=disable connect_timeout=3", host, port, f.user, f.database))
	if err != nil {
		return nil, err
	}
	made, err := connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &connection{made, f, epoch}, nil
}

func (f *following) Driver() driver.Driver { return &pq.Driver{} }

// connection is dropped by the pool when it leads to a server that is not primary any more.
type connection struct {
	driver.Conn
	of    *following
	epoch uint64
}

func (c *connection) IsValid() bool {
	validator, is := c.Conn.(driver.Validator)
	return c.epoch == c.of.epoch.Load() && (!is || validator.IsValid())
}

func (c *connection) ResetSession(ctx context.Context) error {
	if c.epoch != c.of.epoch.Load() {
		return driver.ErrBadConn
	}
	if resetter, is := c.Conn.(driver.SessionResetter); is {
		return resetter.ResetSession(ctx)
	}
	return nil
}

func (c *connection) QueryContext(ctx context.Context, query string, values []driver.NamedValue) (driver.Rows, error) {
	return c.Conn.(driver.QueryerContext).QueryContext(ctx, query, values)
}

func (c *connection) ExecContext(ctx context.Context, query string, values []driver.NamedValue) (driver.Result, error) {
	return c.Conn.(driver.ExecerContext).ExecContext(ctx, query, values)
}

func (c *connection) BeginTx(ctx context.Context, options driver.TxOptions) (driver.Tx, error) {
	return c.Conn.(driver.ConnBeginTx).BeginTx(ctx, options)
}

// steer moves the pool by the engine's events, until the engine has stopped.
func steer(engine *failover.Engine, service string, pool *following, db *sql.DB) {
	primary := func() string {
		status, err := engine.Status()
		if err != nil || status.Service(service) == nil {
			return ""
		}
		return status.Service(service).Primary
	}
	for event := range engine.Events() {
		if event.Severity >= failover.Info {
			log.Printf("%s: %s", event.Kind, event.Message)
		}
		if event.Service != service {
			continue
		}
		switch event.Kind {
		case failover.PrimaryKnown:
			pool.follow(primary(), false)
		case failover.FailoverStarted:
			pool.hold()
			// Drops what is idle; what is out is dropped when it comes back.
			db.SetMaxIdleConns(0)
		case failover.FailoverCompleted:
			db.SetMaxIdleConns(size)
			pool.follow(primary(), true)
		case failover.RolledBack, failover.ManualIntervention:
			// It is the old primary, or nobody knows: fail fast rather than pile up.
			db.SetMaxIdleConns(size)
			pool.follow(primary(), false)
		}
	}
}

// outcome is what a failed call says about the server.
func outcome(err error) failover.Outcome {
	var server *pq.Error
	var network net.Error
	switch {
	case err == nil:
		return failover.OutcomeOK
	case errors.As(err, &server):
		if class := server.Code.Class(); class == "57" || class == "53" {
			return failover.OutcomeRejected
		}
		return failover.OutcomeError
	case errors.Is(err, syscall.ECONNREFUSED):
		return failover.OutcomeRefused
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, driver.ErrBadConn):
		return failover.OutcomeReset
	case errors.Is(err, errHeld):
		return failover.OutcomeError
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return failover.OutcomeTimeout
	}
	return failover.OutcomeError
}

// work uses the pool: four goroutines ask who serves them, until ctx ends. served has the last server's port.
func work(ctx context.Context, engine *failover.Engine, service string, db *sql.DB, served func(port int)) {
	var all sync.WaitGroup
	for range 4 {
		all.Add(1)
		go func() {
			defer all.Done()
			for ctx.Err() == nil {
				call, cancel := context.WithTimeout(ctx, patience)
				var port int
				err := db.QueryRowContext(call, "SELECT current_setting('port')::int WHERE NOT pg_is_in_recovery()").Scan(&port)
				cancel()
				if ctx.Err() != nil {
					return
				}
				_ = engine.ReportOutcome(service, "", outcome(err))
				if err == nil {
					served(port)
				} else if !errors.Is(err, errHeld) {
					log.Printf("a statement failed: %v", err)
				}
				time.Sleep(20 * time.Millisecond)
			}
		}()
	}
	all.Wait()
}

func run() error {
	config := flag.String("config", "", "the engine's configuration")
	service := flag.String("service", "", "the service whose primary is followed")
	user := flag.String("user", "", "for the connections")
	database := flag.String("database", "", "for the connections")
	program := flag.String("lab", "", "start a pair by this program, and kill its primary")
	flag.Parse()
	servers := map[string]string{}
	for _, argument := range flag.Args() {
		name, address, is := strings.Cut(argument, "=")
		if !is {
			return fmt.Errorf("%q is no NAME=HOST:PORT", argument)
		}
		servers[name] = address
	}
	var pair *lab.Lab
	if *program != "" {
		var err error
		if pair, err = lab.Start(*program); err != nil {
			return err
		}
		defer pair.Close()
		*config, *service, *user, *database, servers = pair.Config, pair.Service, pair.User, pair.Database, pair.Servers
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
	pool := newFollowing(*user, *database, servers)
	db := sql.OpenDB(pool)
	defer db.Close()
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	go steer(engine, *service, pool, db)

	ports := make(chan int, 1)
	served := func(port int) {
		select {
		case ports <- port:
		default:
		}
	}
	working, end := context.WithCancel(ctx)
	defer end()
	done := make(chan struct{})
	go func() {
		defer close(done)
		work(working, engine, *service, db, served)
	}()
	if pair != nil {
		if err := prove(ctx, engine, pair, ports); err != nil {
			return err
		}
		end()
	}
	<-done
	return engine.Close()
}

// prove kills the primary once a failover would go through, and waits until the pool is served by the other server.
func prove(ctx context.Context, engine *failover.Engine, pair *lab.Lab, ports <-chan int) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	port := func(name string) int {
		_, text, _ := net.SplitHostPort(pair.Servers[name])
		number := 0
		_, _ = fmt.Sscan(text, &number)
		return number
	}
	wait := func(wanted int) error {
		for {
			select {
			case port := <-ports:
				if port == wanted {
					return nil
				}
			case <-ctx.Done():
				return fmt.Errorf("the pool was never served by port %d: %w", wanted, ctx.Err())
			}
		}
	}
	if err := wait(port("db1")); err != nil {
		return err
	}
	for {
		status, err := engine.Status()
		if err != nil {
			return err
		}
		if status.Service(pair.Service).Forecast.WouldFailOver {
			break
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return errors.New(status.Service(pair.Service).Forecast.Message)
		}
	}
	log.Print("killing db1")
	began := time.Now()
	if _, err := pair.Order("kill db1"); err != nil {
		return err
	}
	if err := wait(port("db2")); err != nil {
		return err
	}
	log.Printf("the pool is served by db2, %d ms after the order to kill db1", time.Since(began).Milliseconds())
	return nil
}

func main() {
	log.SetFlags(log.Lmicroseconds)
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "pool:", err)
		os.Exit(1)
	}
}
