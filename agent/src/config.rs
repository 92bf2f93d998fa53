//! The configuration: TOML files to one checked [`Config`].
//!
//! - [`load`]: the file and `conf.d/*.toml` beside it, merged; unknown keys are refused with the nearest known one
//! - [`keys`]: one table of all sections and their keys, from which the schema, the commented defaults and the known
//!   names are made
//! - [`last_working`]: the last configuration that has worked, should the next one be wrong

mod defaults;
pub mod keys;
pub mod last_working;
mod load;
mod settings;
mod size;

pub use defaults::{default_toml, schema};
pub use load::{ConfigError, load, load_text};
pub use settings::{
    AgentConfig, CommitConfig, Config, HttpConfig, LogConfig, LogFormat, LogLevel, RingConfig, ShipConfig, name_of_host,
};
pub use size::Size;

#[cfg(test)]
mod tests;
