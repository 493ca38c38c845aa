//! Actions carried out by the operator's own commands.
