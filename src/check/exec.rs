//! A check that asks a command.
