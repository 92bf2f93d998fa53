//! The models: each built-in one as its version 1, and the versions that the configuration adds.

use afferent_protocol::sign::sha256;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::alarms::{Alarms, AlarmsSettings};
use super::breakdowns::{Breakdowns, BreakdownsSettings};
use super::kpi::{Kpi, KpiSettings};
use super::last::{Last, LastSettings};
use super::sources::{Sources, SourcesSettings};
use super::states::{States, StatesSettings};
use super::{AnyModel, ModelId, ModelIdError};

/// A built-in model, with the settings of one version of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BuiltIn {
    /// The present and past states of every machine.
    States(StatesSettings),
    /// Breakdowns from their beginning to their end, with the alarms around them.
    Breakdowns(BreakdownsSettings),
    /// Alarms that need attention.
    Alarms(AlarmsSettings),
    /// The last value of every sensor.
    Last(LastSettings),
    /// Availability, MTBF, MTTR and OEE.
    Kpi(KpiSettings),
    /// The condition of every source.
    Sources(SourcesSettings),
}

/// A version of a model.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "Raw")]
pub struct Definition {
    /// Name and version of the model.
    pub id: ModelId,
    /// The built-in model and its settings.
    pub of: BuiltIn,
}

/// A definition as the configuration has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: String,
    version: u32,
    of: String,
    #[serde(default)]
    settings: toml::Table,
}

/// Why a definition is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DefinitionError {
    /// The name or version is invalid.
    #[error(transparent)]
    Id(#[from] ModelIdError),
    /// No built-in model has this name.
    #[error("unknown variant `{0}`, expected one of `states`, `breakdowns`, `alarms`, `last`, `kpi`, `sources`")]
    Of(String),
    /// The settings are invalid. The text has no model name in front: `unknown field …` finds the nearest one.
    #[error("{0}")]
    Settings(String),
}

impl BuiltIn {
    /// All built-in models with their default settings.
    pub fn all() -> [Self; 6] {
        [
            Self::States(StatesSettings::default()),
            Self::Breakdowns(BreakdownsSettings::default()),
            Self::Alarms(AlarmsSettings::default()),
            Self::Last(LastSettings::default()),
            Self::Kpi(KpiSettings::default()),
            Self::Sources(SourcesSettings::default()),
        ]
    }

    /// The built-in model of this name, with these settings.
    pub fn new(of: &str, settings: toml::Table) -> Result<Self, DefinitionError> {
        match of {
            "states" => read(settings).map(Self::States),
            "breakdowns" => read(settings).map(Self::Breakdowns),
            "alarms" => read(settings).map(Self::Alarms),
            "last" => read(settings).map(Self::Last),
            "kpi" => read(settings).map(Self::Kpi),
            "sources" => read(settings).map(Self::Sources),
            _ => Err(DefinitionError::Of(of.chars().take(64).collect())),
        }
    }

    /// The name of the built-in model.
    pub fn name(&self) -> &'static str {
        match self {
            Self::States(_) => "states",
            Self::Breakdowns(_) => "breakdowns",
            Self::Alarms(_) => "alarms",
            Self::Last(_) => "last",
            Self::Kpi(_) => "kpi",
            Self::Sources(_) => "sources",
        }
    }

    /// The content of the model, for people.
    pub fn title(&self) -> &'static str {
        match self {
            Self::States(_) => "Machine states",
            Self::Breakdowns(_) => "Breakdown episodes",
            Self::Alarms(_) => "Active alarms (ISA-18.2)",
            Self::Last(_) => "Last values",
            Self::Kpi(_) => "Key figures (ISO 22400)",
            Self::Sources(_) => "Health of sources",
        }
    }

    /// Version of the state's bytes: raised with every change of their meaning; a test compares it with the bytes.
    pub fn layout(&self) -> u32 {
        match self {
            Self::States(_) | Self::Breakdowns(_) => 3,
            Self::Alarms(_) | Self::Last(_) | Self::Kpi(_) | Self::Sources(_) => 4,
        }
    }

    /// The model without events.
    pub fn build(&self) -> Box<dyn AnyModel> {
        match self {
            Self::States(settings) => Box::new(States::new(settings.clone())),
            Self::Breakdowns(settings) => Box::new(Breakdowns::new(settings.clone())),
            Self::Alarms(settings) => Box::new(Alarms::new(settings.clone())),
            Self::Last(settings) => Box::new(Last::new(settings.clone())),
            Self::Kpi(settings) => Box::new(Kpi::new(settings.clone())),
            Self::Sources(settings) => Box::new(Sources::new(settings.clone())),
        }
    }

    /// A number that is equal only for the same model, layout and settings.
    pub fn fingerprint(&self) -> u64 {
        let text = serde_json::to_vec(&(self, self.layout())).expect("settings are numbers and texts");
        u64::from_le_bytes(sha256(&text)[..8].try_into().expect("eight bytes of thirty-two"))
    }
}

fn read<S: DeserializeOwned>(settings: toml::Table) -> Result<S, DefinitionError> {
    settings.try_into().map_err(|error: toml::de::Error| DefinitionError::Settings(error.message().to_owned()))
}

impl Definition {
    /// Version 1 of a built-in model.
    pub fn built_in(of: BuiltIn) -> Self {
        let id = ModelId::new(of.name(), 1).expect("the name of a built-in model is one");
        Self { id, of }
    }

    /// A version with checked name and settings.
    pub fn new(name: &str, version: u32, of: &str, settings: toml::Table) -> Result<Self, DefinitionError> {
        Ok(Self { id: ModelId::new(name, version)?, of: BuiltIn::new(of, settings)? })
    }
}

/// The built-in models' versions 1, and the added ones.
pub fn with_built_ins(added: &[Definition]) -> Vec<Definition> {
    let mut all: Vec<Definition> = BuiltIn::all().into_iter().map(Definition::built_in).collect();
    all.extend(added.iter().cloned());
    all
}

impl TryFrom<Raw> for Definition {
    type Error = DefinitionError;

    fn try_from(raw: Raw) -> Result<Self, DefinitionError> {
        Self::new(&raw.name, raw.version, &raw.of, raw.settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_named_by_name_and_version() {
        let id: ModelId = "kpi@2".parse().unwrap();
        assert_eq!((id.name(), id.version(), id.to_string().as_str()), ("kpi", 2, "kpi@2"));
        for text in ["", "kpi", "kpi@", "kpi@0", "kpi@x", "@1", "../x@1", "KPI@1", "a/b@1", "kpi@1@1"] {
            assert!(text.parse::<ModelId>().is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn settings_are_typed_and_unknown_ones_are_refused_by_name() {
        let definition = |settings: &str| Definition::new("kpi", 2, "kpi", settings.parse().unwrap());
        assert!(definition("severity_min = \"warning\"").is_ok());
        let error = definition("severty_min = \"warning\"").unwrap_err().to_string();
        assert!(error.starts_with("unknown field `severty_min`"), "{error}");
        assert!(definition("severity_min = 3").is_err());
        assert!(definition("on_change = [\"88-*\"]\n[no_data_s_of]\n\"88-C/shift/**\" = 28800").is_ok());
        let error = definition("on_change = [\"[\"]").unwrap_err().to_string();
        assert!(error.contains("the subject pattern \"[\" is invalid"), "{error}");
        assert!(matches!(Definition::new("x", 1, "kpis", toml::Table::new()), Err(DefinitionError::Of(_))));
    }

    /// States of all models after some events. If this fails, the meaning of saved bytes has changed: raise
    /// [`BuiltIn::layout`] of that model, so that older states are rebuilt, and only then pin the new bytes.
    #[test]
    fn the_bytes_of_saved_states_are_those_of_their_layout() {
        use super::super::testing::{Log, alarm, breakdown, derived, recovery, sample, state};
        use afferent_protocol::event::{AlarmTransition, MachineState};
        let note = r#"{"of":"1","action":"note","note":"n","by":"b"}"#;
        let log = Log::of(&[
            alarm(1, "88-C/belt", "slip", AlarmTransition::Raised),
            breakdown(2, "88-C", "E1", "torn"),
            derived("88-C", super::super::amendment::AMENDMENT, note),
            recovery(3, "88-C", "E1"),
            state(4, "88-C", MachineState::Executing),
            sample(5, "88-C/produced", 7.0),
            sample(6, "88-C/produced", 9.0),
        ]);
        let pinned = [
            ("states", 3, 0x9813f5a9_u32),
            ("breakdowns", 3, 0xcc74a5cd),
            ("alarms", 4, 0x3adef000),
            ("last", 4, 0x14d5ced1),
            ("kpi", 4, 0x8d9f52e9),
            ("sources", 4, 0x3a6c04a2),
        ];
        let found = BuiltIn::all().map(|of| {
            let state = log.fold_any(of.build());
            (of.name(), of.layout(), afferent_protocol::checksum::crc32c(&state.save()))
        });
        assert_eq!(found, pinned);
    }

    #[test]
    fn other_settings_are_another_fingerprint_and_defaults_said_are_the_same() {
        let of = |settings: &str| BuiltIn::new("kpi", settings.parse().unwrap()).unwrap().fingerprint();
        assert_eq!(of(""), of("severity_min = \"error\""));
        assert_ne!(of(""), of("severity_min = \"warning\""));
        let all: std::collections::BTreeSet<u64> = BuiltIn::all().iter().map(BuiltIn::fingerprint).collect();
        assert_eq!(all.len(), 6);
    }
}
