//! The subject of a certificate: a source, a machine or the whole log.

use afferent_protocol::ids::SourceId;
use serde::Serialize;
use utoipa::openapi::{ObjectBuilder, OneOfBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// The subject of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum About {
    /// An agent: all of its streams.
    Source(SourceId),
    /// A machine (the first level of subjects): all streams of every source that sends events about it.
    Machine(String),
    /// The log as a whole: all sources.
    Log,
}

impl PartialSchema for About {
    fn schema() -> RefOr<Schema> {
        let text = || ObjectBuilder::new().schema_type(Type::String);
        let one = |kind: &str| {
            let object = ObjectBuilder::new().schema_type(Type::Object);
            object.property(kind, text()).required(kind)
        };
        let log = text().enum_values(Some(["log"]));
        OneOfBuilder::new().item(one("source")).item(one("machine")).item(log).into()
    }
}

impl ToSchema for About {}
