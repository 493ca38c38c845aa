//! What the reports of both demos are made of: drawings, tables, numbers as people read them.

pub mod chart;
pub mod page;
pub mod text;

use super::support;
