//! `data` of a table of followed files.

use afferent_protocol::event::{FilePlace, Followed};
use serde::ser::{SerializeMap, SerializeStruct};
use serde::{Serialize, Serializer};

use super::text::Hex;
use crate::rfc3339::time_text;
use crate::whole;

/// A table of files as JSON.
pub(super) struct FollowedData<'e, 'a>(pub &'e Followed<'a>);

impl Serialize for FollowedData<'_, '_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut members = to.serialize_struct("Followed", 5)?;
        members.serialize_field("stream", self.0.stream.name())?;
        members.serialize_field("input", self.0.input)?;
        members.serialize_field("number", &Whole(self.0.number))?;
        members.serialize_field("horizon", &time_text(self.0.horizon))?;
        members.serialize_field("files", &self.0.files.iter().map(File).collect::<Vec<_>>())?;
        members.end()
    }
}

struct File<'a>(FilePlace<'a>);

impl Serialize for File<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let FilePlace { number, device, inode, born_us, known, fingerprint, end, other_end, is_finished, name } =
            self.0;
        let mut map = to.serialize_map(None)?;
        map.serialize_entry("number", &Whole(number))?;
        map.serialize_entry("device", &Whole(device))?;
        map.serialize_entry("inode", &Whole(inode))?;
        map.serialize_entry("born_us", &Whole(born_us))?;
        map.serialize_entry("known", &Whole(known))?;
        map.serialize_entry("fingerprint", &Hex(&fingerprint).to_string())?;
        map.serialize_entry("end", &Whole(end))?;
        map.serialize_entry("other_end", &Whole(other_end))?;
        map.serialize_entry("finished", &is_finished)?;
        map.serialize_entry("name", name)?;
        map.end()
    }
}

struct Whole(u64);

impl Serialize for Whole {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        whole::serialize(&self.0, to)
    }
}
