// What `failover validate`, `check` and `doctor` say, inside a program: before it starts its engine, in a health page, in a deployment.
//
//	preflight -config failover.toml -service orders
//	preflight -lab target/debug/examples/lab        with real servers of its own, one of which is stopped
//
// It ends with 0 when a failover would go through, else with 1.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"time"

	failover "github.com/libfailover/libfailover/bindings/go"
	"github.com/libfailover/libfailover/examples/go/internal/lab"
)

// Every question to a server or a host has its own time limit; this one is over all of them.
const patience = time.Minute

func show(findings ...failover.Finding) {
	for _, finding := range findings {
		what := "warning"
		if finding.Blocking {
			what = "blocking"
		}
		fmt.Printf("  %s %s %s: %s\n    why: %s\n    remedy: %s\n", what, finding.Server, finding.Code, finding.Message, finding.Why, finding.Remedy)
	}
}

// preflight is whether a failover would go through, with everything that is to be said; service "" is all of them.
func preflight(ctx context.Context, config, service string) (bool, error) {
	validation, err := failover.ValidateFile(config)
	if err != nil {
		return false, err
	}
	for _, problem := range append(validation.Errors, validation.Warnings...) {
		fmt.Printf("  %s: %s; %s\n", problem.Path, problem.Reason, problem.Remedy)
	}
	if !validation.Valid {
		return false, nil
	}
	// An engine that is not started asks as one does that runs.
	engine, err := failover.NewFromFile(config)
	if err != nil {
		return false, err
	}
	defer engine.Close()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if service != "" {
		report, err := engine.Doctor(ctx, service)
		if err != nil {
			return false, err
		}
		fmt.Printf("%s: %s\n", service, report.Sentence)
		show(report.Findings...)
		return report.Ready, nil
	}
	summary, err := engine.CheckAll(ctx)
	if err != nil {
		return false, err
	}
	for _, check := range summary.Checks {
		fmt.Printf("  %s %s: %s %s\n", check.Server, check.Check, check.Verdict, check.Message)
	}
	for _, forecast := range summary.Forecasts {
		fmt.Printf("%s: %s\n", forecast.Service, forecast.Sentence)
	}
	for _, finding := range summary.Readiness {
		show(finding.Finding)
	}
	return summary.Passed(), nil
}

func withLab(ctx context.Context, program string) error {
	pair, err := lab.Start(program)
	if err != nil {
		return err
	}
	defer pair.Close()
	for _, service := range []string{"", pair.Service} {
		if well, err := preflight(ctx, pair.Config, service); err != nil || !well {
			return errors.Join(err, fmt.Errorf("%q is not well", service))
		}
	}
	if _, err := pair.Order("stop db2"); err != nil {
		return err
	}
	if well, err := preflight(ctx, pair.Config, pair.Service); err != nil || well {
		return errors.Join(err, errors.New("nobody is missed"))
	}
	return nil
}

func main() {
	config := flag.String("config", "failover.toml", "the configuration")
	service := flag.String("service", "", "this service alone")
	program := flag.String("lab", "", "the program that starts a pair")
	flag.Parse()
	ctx := context.Background()
	if *program != "" {
		if err := withLab(ctx, *program); err != nil {
			log.Fatal(err)
		}
		return
	}
	well, err := preflight(ctx, *config, *service)
	if err != nil {
		log.Print(err)
	}
	if !well {
		os.Exit(1)
	}
}
