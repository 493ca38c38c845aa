module github.com/libfailover/libfailover/examples/go

go 1.22

require (
	github.com/lib/pq v1.10.7
	github.com/libfailover/libfailover/bindings/go v0.1.0
)

replace github.com/libfailover/libfailover/bindings/go => ../../bindings/go
