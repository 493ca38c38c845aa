//! The library as a program sees it: one program for all of its tests.

#![allow(clippy::too_many_lines, reason = "a table, or one story told from its beginning to its end")]

mod support;

mod application;
mod architecture;
mod config;
mod engine;
mod follow;
mod notify;
mod reference;
mod reports;
mod role;
mod supervision;
