//! `go test -json`, one object a line on stdout.
