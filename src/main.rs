//! The command line `failover`.

fn main() {}
