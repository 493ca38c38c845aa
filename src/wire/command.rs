//! A child process with a deadline.
