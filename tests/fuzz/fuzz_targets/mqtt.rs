//! Bytes that a client sends to the collector, cut into any pieces, through the endpoint's own rooms: handshake, packets,
//! the connection with its answers, and admission behind it. No panic, no connection without an end, no task that spins,
//! and no memory for what a packet only says of itself (libFuzzer's limit of one allocation).
//!
//! Input: a byte of flags, the number of pieces' lengths, the lengths (used over and over), and the bytes.
#![no_main]

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use afferent_collector::core::{Answer, Core, OwnIdentity};
use afferent_collector::endpoint::{Access, EndpointSettings, Registry, Server, User};
use afferent_collector::intake::{Admitted, Health, Incoming, IncomingContent, Intake, Outbox};
use afferent_collector::log::{EmbeddedLog, LogSettings};
use afferent_collector::sources::Sources;
use afferent_host::disk::simulated::SimDisk;
use afferent_host::stop;
use afferent_protocol::batch::ClockReading;
use afferent_protocol::ids::{Epoch, SourceId, Timestamp};
use afferent_protocol::sign::Identity;
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;

/// Longer than every patience of the endpoint together.
const CONNECTION_MAX: Duration = Duration::from_secs(24 * 3600);
/// Polls of the stream for each byte of it: some for the byte, some for the answer.
const POLLS_PER_BYTE: usize = 64;
/// The largest answer to a byte that came is a CONNACK with all its properties, or a welcome.
const OUT_BYTES_PER_BYTE: usize = 4096;

/// The client's side of the connection.
struct Client<'a> {
    bytes: &'a [u8],
    lengths: &'a [u8],
    pieces: usize,
    /// Whether it stays after its last byte, without a word.
    stays: bool,
    /// Whether it reads what it is sent.
    reads: bool,
    polls_left: usize,
    out_left: usize,
}

impl Client<'_> {
    fn polled(&mut self) {
        self.polls_left = self.polls_left.checked_sub(1).expect("a connection that has nothing to do spins");
    }
}

impl AsyncRead for Client<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        self.polled();
        if self.bytes.is_empty() {
            return if self.stays { Poll::Pending } else { Poll::Ready(Ok(())) };
        }
        let wanted = self.lengths.get(self.pieces % self.lengths.len().max(1)).map_or(usize::MAX, |len| (*len).into());
        let (piece, rest) = self.bytes.split_at(wanted.clamp(1, self.bytes.len()).min(buffer.remaining()));
        buffer.put_slice(piece);
        self.bytes = rest;
        self.pieces += 1;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Client<'_> {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.polled();
        if !self.reads {
            return Poll::Pending;
        }
        self.out_left = self.out_left.checked_sub(bytes.len()).expect("answers are in proportion to what came");
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn clock() -> ClockReading {
    let wall = Timestamp::clamped(1_700_000_000_000_000);
    ClockReading { wall, monotonic_us: 1_000_000, synchronised: true, boot: [7; 16] }
}

fn core() -> Core<EmbeddedLog<SimDisk>> {
    let own = OwnIdentity {
        source: SourceId::literal("collector"),
        identity: Identity::from_seed(&[99; 32]),
        epoch: Epoch::new(5),
        challenge: [3; 32],
        endorsements: Vec::new(),
    };
    let (mut sources, settings) = (Sources::new(own.source), LogSettings { segment_bytes: 64 * 1024 });
    let disk = SimDisk::of_seed(1);
    let opened = EmbeddedLog::open_by_indexes(disk, settings, &mut || 7, clock().wall, &mut sources);
    let (log, recovery) = opened.expect("an empty disk takes a log");
    let mut core = Core::new(log, sources, own, &recovery, &clock());
    core.begin(&clock()).expect("nothing is refused");
    core
}

/// Does what the writer's thread does, one message a commit.
async fn admit(mut incoming: mpsc::Receiver<Incoming>, outbox: Outbox) {
    let mut core = core();
    while let Some(handed_over) = incoming.recv().await {
        let agent = handed_over.agent().expect("connections hand over what is an agent's");
        let mut verdict = Admitted::Taken;
        match handed_over.content() {
            IncomingContent::Message { payload, connection } => {
                let received = core.receive(agent, payload, *connection, &clock());
                if let Some(refusal) = &received.refusal {
                    verdict = Admitted::from(refusal);
                }
            }
            IncomingContent::Closed { connection } => core.closed(agent, *connection, &clock()),
            other => panic!("no connection hands over {other:?}"),
        }
        for Answer { agent, connection, message, .. } in core.commit(&clock()).expect("nothing is refused") {
            outbox.send(&agent, connection, message.into());
        }
        handed_over.release(verdict);
    }
}

async fn serve(client: Client<'_>, access: Access) {
    let peer: SocketAddr = ([127, 0, 0, 1], 4711).into();
    let settings = EndpointSettings {
        listen: peer,
        access,
        tls: None,
        connections_max: 1,
        handshake_max: Duration::from_secs(10),
    };
    let (registry, (intake, incoming), (_stop, stopping)) =
        (Arc::<Registry>::default(), Intake::new(), stop::channel());
    let server = Server::new(settings, intake, Arc::clone(&registry), Arc::<Health>::default(), stopping);
    let server = server.expect("a loopback address may be open");
    let serving = tokio::time::timeout(CONNECTION_MAX, server.serve_plain(client, peer));
    tokio::select! {
        ended = serving => ended.expect("a connection ends"),
        () = admit(incoming, Outbox::Endpoint(registry)) => panic!("the way in is open while a connection is"),
    }
}

fuzz_target!(|data: &[u8]| {
    let [flags, pieces, rest @ ..] = data else { return };
    let (lengths, bytes) = rest.split_at(usize::from(*pieces).min(rest.len()));
    let client = Client {
        bytes,
        lengths,
        pieces: 0,
        stays: flags & 1 != 0,
        reads: flags & 2 == 0,
        polls_left: POLLS_PER_BYTE * (bytes.len() + 16),
        out_left: OUT_BYTES_PER_BYTE * (bytes.len() + 1),
    };
    let access = match flags & 4 {
        0 => Access::Open,
        _ => Access::Users(vec![User::new(SourceId::literal("press-88"), b"secret")]),
    };
    // Time stands still but for waits that nothing else can end.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime without threads needs nothing").block_on(serve(client, access));
});
