//! The table of all kinds of inputs, and what is made from it: the sections `[intake.…]` of the configuration, their
//! defaults, keys and help, and the inputs that a configuration wants.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use super::exec::Exec;
use super::file::FileReplay;
use super::host::ThisMachine;
use super::input::{Home, Input, Of, Wanted};
use super::serial::Line;
use super::sink::DeviceSink;
use super::socket::Socket;
use crate::section::Section;

/// The inputs that a configuration wants, by name.
pub type AllWanted<S> = BTreeMap<String, Arc<dyn Wanted<S>>>;

macro_rules! kinds {
    ($($name:ident: $input:ty,)*) => {
        /// `[intake.…]`: where events come from, one section for each kind.
        #[derive(Clone, Debug, Default, PartialEq, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct IntakeConfig {
            $(
                #[doc = concat!("`intake.", stringify!($name), "`")]
                pub $name: <$input as Input>::Section,
            )*
        }

        /// The sections of all kinds.
        pub const SECTIONS: &[Section] = &[$(Section {
            path: concat!("intake.", stringify!($name)),
            repeats: <$input as Input>::REPEATS,
            help: <$input as Input>::HELP,
            keys: <$input as Input>::KEYS,
        },)*];

        /// What the inputs of each kind share, from one configuration to the next.
        #[derive(Clone, Debug, Default)]
        pub struct Shared {
            $($name: <$input as Input>::Shared,)*
        }

        impl IntakeConfig {
            /// Refuses what the types cannot. The error names the key.
            pub fn check(&self, home: &Home) -> Result<(), String> {
                $(<$input as Input>::check(&self.$name, home)?;)*
                Ok(())
            }
        }

        impl Shared {
            /// A new configuration is in force.
            pub fn change(&self, config: &IntakeConfig) {
                $(<$input as Input>::share(&self.$name, &config.$name);)*
            }

            /// The inputs that a configuration wants.
            pub fn wanted<S: DeviceSink>(&self, config: &IntakeConfig, home: &Home) -> AllWanted<S> {
                let mut all = AllWanted::new();
                $(
                    for (label, config) in <$input as Input>::inputs(&config.$name, home) {
                        let wanted = Of::<$input> { config, shared: self.$name.clone() };
                        insert(&mut all, stringify!($name), &label, Arc::new(wanted));
                    }
                )*
                all
            }
        }
    };
}

// One line a kind: the name of its section, and its type.
kinds! {
    socket: Socket,
    host: ThisMachine,
    exec: Exec,
    file: FileReplay,
    serial: Line,
}

/// Names an input by its kind and label; several with one label are numbered, as one file may be replayed by several
/// mappings.
fn insert<S>(all: &mut AllWanted<S>, kind: &str, label: &str, wanted: Arc<dyn Wanted<S>>) {
    let plain = format!("{kind} {label}").trim_end().to_owned();
    let numbered = (2..).map(|number: usize| format!("{plain} ({number})"));
    let free = std::iter::once(plain.clone()).chain(numbered).find(|name| !all.contains_key(name));
    all.insert(free.expect("some number is free"), wanted);
}
