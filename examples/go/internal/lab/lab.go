// Package lab is real servers for the examples: -lab names the program that starts them (cargo build --example lab), a PostgreSQL pair
// behind HAProxy, or with "application" two web servers behind two.
package lab

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// Lab is a pair, or an application, until Close.
type Lab struct {
	// Config is the path of the engine's configuration, Service its service.
	Config, Service string
	// User and Database are for connections to databases, over Front (HAProxy) or to Servers (by name).
	User, Database string
	Front          string
	Servers        map[string]string

	program *exec.Cmd
	orders  io.WriteCloser
	answers *bufio.Reader
}

type place struct {
	Name string `json:"name"`
	Host string `json:"host"`
	Port int    `json:"port"`
}

func (p place) address() string { return net.JoinHostPort(p.Host, strconv.Itoa(p.Port)) }

// Start starts a pair, or with the argument "application" web servers.
func Start(path string, arguments ...string) (*Lab, error) {
	lab := &Lab{program: exec.Command(path, arguments...), Servers: map[string]string{}}
	// In a group of its own: Ctrl-C is for the example, which then closes the lab's input, and that ends the servers.
	lab.program.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	lab.program.Stderr = os.Stderr
	orders, err := lab.program.StdinPipe()
	if err != nil {
		return nil, err
	}
	answers, err := lab.program.StdoutPipe()
	if err != nil {
		return nil, err
	}
	lab.orders, lab.answers = orders, bufio.NewReader(answers)
	if err := lab.program.Start(); err != nil {
		return nil, err
	}
	line, err := lab.answers.ReadString('\n')
	if err != nil {
		lab.Close()
		return nil, fmt.Errorf("the lab did not start: %w", err)
	}
	var said struct {
		Config, Service, User, Database string
		Servers                         []place
		Front                           place
	}
	if err := json.Unmarshal([]byte(line), &said); err != nil {
		lab.Close()
		return nil, err
	}
	lab.Config, lab.Service, lab.User, lab.Database = said.Config, said.Service, said.User, said.Database
	lab.Front = said.Front.address()
	for _, server := range said.Servers {
		lab.Servers[server.Name] = server.address()
	}
	return lab, nil
}

// Order gives one: "kill", "stop", "freeze" or "primary", and the name of a server; of an application also "errors", and "answers" alone.
func (l *Lab) Order(order string) (string, error) {
	if _, err := fmt.Fprintln(l.orders, order); err != nil {
		return "", err
	}
	answer, err := l.answers.ReadString('\n')
	answer = strings.TrimSpace(answer)
	if err == nil && strings.HasPrefix(answer, "error: ") {
		err = fmt.Errorf("the lab: %s", strings.TrimPrefix(answer, "error: "))
	}
	return answer, err
}

// Close ends the servers.
func (l *Lab) Close() {
	l.orders.Close()
	_ = l.program.Wait()
}
