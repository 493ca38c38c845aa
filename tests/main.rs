//! The library as a program sees it: one program for all of its tests.

mod support;

mod application;
mod architecture;
mod config;
mod engine;
mod follow;
mod reference;
mod role;
mod supervision;
