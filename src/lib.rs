//! Automatic failover as a library.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod action;
pub mod check;
pub mod config;
pub mod core;
pub mod engine;
pub mod wire;

pub use config::Config;
pub use core::event::{EventKind, Severity};
pub use engine::{
    ActionAnswer, CheckReport, Engine, EngineError, EngineEvent, EventQueue, ForceOptions, HostAction, HostAnswer, HostCheck,
    Status, TaskAnswer,
};
