//! The core from outside: scenarios, tables, properties, and the worlds of an application and of a service that follows another.

#![allow(clippy::too_many_lines, reason = "a table, or one story told from its beginning to its end")]

#[path = "../sim/dice.rs"]
mod dice;
#[path = "../sim/world.rs"]
mod world;

mod acknowledging;
mod application;
mod candidate;
mod due;
mod evidence;
mod follow;
mod host_check;
mod limit;
mod loss;
mod properties;
mod resume;
mod rules;
mod scenarios;
mod survival;
mod table;
mod tolerance;
