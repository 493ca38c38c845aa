// Package failover is automatic failover, embedded: an engine that watches servers, decides when the primary has failed, fences it,
// promotes a standby, moves the traffic, verifies the result, and reports what happened and why.
//
//	engine, err := failover.NewFromFile("failover.toml")
//	if err != nil {
//		return err
//	}
//	defer engine.Close()
//	if err := engine.Start(ctx); err != nil {
//		return err
//	}
//	for event := range engine.Events() {
//		log.Println(event.Kind, event.Message)
//	}
//
// It is a thin layer over libfailover's C interface (include/failover.h). Every method may be called from any goroutine. No Go function
// is ever called by a thread of the library: one goroutine takes all events and hands them on. docs/go.md is the guide.
package failover

/*
#cgo pkg-config: failover
#include <failover.h>
#include <stdlib.h>
*/
import "C"

import (
	"fmt"
	"unsafe"
)

// Version is the version of the library that is loaded, such as "0.1.0".
func Version() string {
	return C.GoString(C.failover_version())
}

// compatible says whether the library that is loaded has the interface that this package was built with: the same major number,
// and at least the minor one.
func compatible() error {
	built, loaded := uint32(C.FAILOVER_ABI_VERSION), uint32(C.failover_abi_version())
	if built>>16 == loaded>>16 && loaded >= built {
		return nil
	}
	message := fmt.Sprintf("libfailover %s has interface %d.%d; this package was built for %d.%d: install a library that fits it",
		Version(), loaded>>16, loaded&0xffff, built>>16, built&0xffff)
	return &Error{Code: ErrUnsupported, Message: message}
}

// cstring is text for C; free is called afterwards. NULL for the empty string, where that means "none".
func cstring(text string, emptyIsNone bool) (pointer *C.char, free func()) {
	if text == "" && emptyIsNone {
		return nil, func() {}
	}
	pointer = C.CString(text)
	return pointer, func() { C.free(unsafe.Pointer(pointer)) }
}

// kindAt is the word of a kind of event, by its place in the library's list; empty behind the last.
func kindAt(index int) string {
	number := C.failover_event_kind_at(C.size_t(index))
	if number == 0 {
		return ""
	}
	return C.GoString(C.failover_event_kind_name(number))
}
