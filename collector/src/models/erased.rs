//! Models behind one trait, whatever the types of their states are.

use afferent_protocol::ids::{Offset, Timestamp};
use serde_json::Value;

use super::amendment::Action;
use super::span::Span;
use super::{Amendable, LoggedEvent, Model, Shortage};

/// A saved state cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the state cannot be read: {0}")]
pub struct StateError(String);

/// A [`Model`] whose state's type is erased.
pub trait AnyModel: Send {
    /// Applies events, in order.
    fn apply_all(&mut self, seen: &[LoggedEvent<'_>]);
    /// The state for readers.
    fn view(&self, at: Timestamp) -> Value;
    /// See [`Model::view_within`].
    fn view_within(&self, at: Timestamp, _span: Span) -> Value {
        self.view(at)
    }
    /// See [`Model::shortage`].
    fn shortage(&self) -> Option<Shortage> {
        None
    }
    /// See [`Model::amendable`].
    fn amendable(&self, _of: Offset, _action: Action) -> Amendable {
        Amendable::Yes
    }
    /// The state in postcard.
    fn save(&self) -> Vec<u8>;
    /// Continues from the bytes of [`AnyModel::save`] of the same built-in model, with any settings.
    fn load(&mut self, state: &[u8]) -> Result<(), StateError>;
    /// See [`Model::sort`].
    fn sort(&mut self, is_sorting: bool);
    /// A copy that continues on its own.
    fn clone_model(&self) -> Box<dyn AnyModel>;
}

impl<M: Model> AnyModel for M {
    fn apply_all(&mut self, seen: &[LoggedEvent<'_>]) {
        seen.iter().for_each(|seen| self.apply(seen));
    }

    fn view(&self, at: Timestamp) -> Value {
        Model::view(self, at)
    }

    fn view_within(&self, at: Timestamp, span: Span) -> Value {
        Model::view_within(self, at, span)
    }

    fn shortage(&self) -> Option<Shortage> {
        Model::shortage(self)
    }

    fn amendable(&self, of: Offset, action: Action) -> Amendable {
        Model::amendable(self, of, action)
    }

    fn save(&self) -> Vec<u8> {
        postcard::to_stdvec(self.state()).expect("states are numbers, texts and lists of known length")
    }

    fn load(&mut self, state: &[u8]) -> Result<(), StateError> {
        match postcard::take_from_bytes(state) {
            Ok((state, [])) => {
                self.restore(state);
                Ok(())
            }
            Ok((_, rest)) => Err(StateError(format!("{} bytes are left over", rest.len()))),
            Err(error) => Err(StateError(error.to_string())),
        }
    }

    fn sort(&mut self, is_sorting: bool) {
        Model::sort(self, is_sorting);
    }

    fn clone_model(&self) -> Box<dyn AnyModel> {
        Box::new(self.clone())
    }
}
