//! Output of functions on its way to log events. Input: pieces, each with a kind and a length in front.

use lambkin_core::logs::MAX_EVENT_BYTES;
use lambkin_runtime::{LogBuffer, TAIL_BYTES};

/// Writes all pieces; nothing but invalid UTF-8 is lost or changed.
pub fn run(mut data: &[u8]) {
    let mut log = LogBuffer::default();
    let (mut piped, mut datagrams) = (Vec::new(), 0);
    let mut messages = Vec::new();
    while let [kind, scale, rest @ ..] = data {
        let (piece, rest) = rest.split_at(rest.len().min(usize::from(*scale)));
        data = rest;
        // large pieces out of small inputs
        let piece = piece.repeat(if scale % 16 == 15 { 3000 } else { 1 });
        match kind % 8 {
            0 => log.keep_tail(scale % 2 == 0),
            1 => log.flush(1),
            2 | 3 => {
                datagrams += 1;
                log.datagram(&piece, 1);
            }
            4 => {
                if let Some(tail) = log.take_tail() {
                    assert!(tail.len() <= TAIL_BYTES);
                }
            }
            _ => {
                piped.extend_from_slice(&piece);
                log.output(&piece, 1);
            }
        }
        messages.extend(log.take_events());
    }
    log.flush(1);
    messages.extend(log.take_events());
    for event in &messages {
        assert!(
            (1..=MAX_EVENT_BYTES).contains(&event.message.len()),
            "an event of {} bytes",
            event.message.len()
        );
    }
    if datagrams == 0 && std::str::from_utf8(&piped).is_ok_and(|text| text.is_ascii()) {
        let all: String = messages.into_iter().map(|event| event.message).collect();
        assert!(all.as_bytes() == piped, "output is lost");
    }
}

/// A few pieces of each kind.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    vec![
        b"\x05\x06one\ntw\x05\x02o\n\x00\x02\x05\x05three\x04\x00\x01\x00".to_vec(),
        b"\x02\x06rhello\x02\x04Rmor\x02\x03re\n\x02\x05lline\x05\x1f\xc3\xa9\xe2\x82\xacxxxx".to_vec(),
        b"\x00\x02\x05\x0fabcdefghijklmn\n\x05\x0f\xf0\x9f\x90\x91\xf0\x9f\x90\x91\xff\xfe1234567".to_vec(),
    ]
}

/// Ends of lines and characters in parts.
pub const WORDS: &[&str] =
    &["\n", "\r\n", "\x05\x0f", "\x02\x0fr", "\x02\x0fR", "é", "€", "🐑", "\x01\0", "\0\x02"];
