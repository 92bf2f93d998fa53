//! A serial line: however its bytes are cut, the same comes out, and a frame after a delimiter always arrives.
#![no_main]

use afferent_protocol::frame::{Accumulator, Fed, encode, frame_len_max};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8], &[u8])| {
    let (cut, noise, payload) = input;
    let payload = &payload[..payload.len().min(500)];
    let mut frame = vec![0; frame_len_max(payload.len())];
    let len = encode(payload, &mut frame).unwrap();
    let line = [noise, &[0], &frame[..len]].concat();
    let whole = read(&line, line.len());
    assert_eq!(whole, read(&line, usize::from(cut) + 1));
    assert_eq!(whole.last(), Some(&Some(payload.to_vec())));
});

fn read(line: &[u8], cut: usize) -> Vec<Option<Vec<u8>>> {
    let mut accumulator = Accumulator::<600>::new();
    let mut out = vec![];
    for mut chunk in line.chunks(cut) {
        loop {
            match accumulator.feed(chunk) {
                Fed::More => break,
                Fed::Frame { payload, taken } => {
                    out.push(Some(payload.to_vec()));
                    chunk = &chunk[taken..];
                }
                Fed::Noise { taken, .. } => {
                    out.push(None);
                    chunk = &chunk[taken..];
                }
            }
        }
    }
    out
}
