//! A check that sends an HTTP request.
