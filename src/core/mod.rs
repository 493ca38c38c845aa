//! The decision: pure. No I/O, no threads, no clock, no logging, no `unsafe`.

pub mod event;
pub mod id;
pub mod input;
pub mod model;
pub mod observation;
pub mod output;
pub mod sample;
pub mod time;
