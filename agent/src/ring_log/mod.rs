//! The ring log.
use afferent_protocol::{batch::*, disk::Disk, ids::*, session::*, sign::Identity};
#[derive(Clone, Copy, Debug, Default)]
pub struct RingSettings {
    pub pool_bytes: u64,
    pub segment_bytes: u64,
    pub critical_reserve_segments: u32,
}
#[derive(Clone, Debug)]
pub struct RingIdentity {
    pub source: SourceId,
    pub identity: Identity,
}
#[derive(Debug)]
pub struct RingLog<D: Disk> {
    d: D,
}
#[derive(Debug)]
pub struct Recovery;
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct OpenError;
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct AppendError;
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct ReadError;
#[derive(Clone, Debug, Default)]
pub struct RingStatus;
#[derive(Clone, Debug)]
pub struct Appended;
impl<D: Disk> RingLog<D> {
    pub fn open(
        d: D,
        _s: RingSettings,
        _w: RingIdentity,
        _c: &ClockReading,
        _e: &mut dyn FnMut() -> u64,
    ) -> Result<(Self, Recovery), OpenError> {
        Ok((Self { d }, Recovery))
    }
    pub fn append(&mut self, _s: Stream, _b: &mut BatchBuilder, _c: &ClockReading) -> Result<Appended, AppendError> {
        Err(AppendError)
    }
    pub fn retry(&mut self, _c: &ClockReading) -> Result<Vec<Appended>, AppendError> {
        Err(AppendError)
    }
    pub fn held(&self) -> Vec<Held> {
        vec![]
    }
    pub fn read(&mut self, _l: Lane, _f: Sequence, _b: usize, _o: &mut Vec<u8>) -> Result<Vec<SentBatch>, ReadError> {
        Err(ReadError)
    }
    pub fn check_at(&mut self, _l: Lane, _e: Sequence) -> Option<Check> {
        None
    }
    pub fn release(&mut self, _l: Lane, _e: Sequence) {}
    pub fn diverged(&mut self, _l: Lane, _c: &ClockReading) -> Result<(), AppendError> {
        Ok(())
    }
    pub fn status(&self) -> RingStatus {
        RingStatus
    }
}
