//! What it says is true: every figure, every word and every value, as somebody outside can check it on the programs.

mod agent_health;
mod alarms;
mod clocks;
mod collector_health;
mod figures;
mod line;
mod page;
mod values;
