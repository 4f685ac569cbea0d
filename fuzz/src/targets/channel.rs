//! The private channel. Input: all that a runtime writes, before it closes its end.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use bytes::Bytes;
use lambkin_runtime::{Answer, Event, MAX_RESPONSE_BYTES, Readiness, Session};

/// An event to be answered.
pub(crate) fn event(payload: &'static [u8]) -> Event<'static> {
    Event {
        request_id: "8c1f6a52-0000-4000-8000-000000000001",
        deadline_ms: 1_795_000_000_000,
        invoked_function_arn: "arn:aws:lambda:us-east-1:000000000000:function:f",
        trace_id: "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0",
        client_context: None,
        cognito_identity: None,
        payload: Bytes::from_static(payload),
        response: None,
    }
}

/// INIT and up to four events; whatever the runtime says, each call ends.
pub fn run(data: &[u8]) {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    // what does not fit into the socket's buffer comes too late: the conversation is over by then
    theirs.set_nonblocking(true).unwrap();
    let _ = theirs.write(data);
    theirs.shutdown(std::net::Shutdown::Write).unwrap();
    block(ours);
    let mut sink = Vec::new();
    let _ = theirs.read_to_end(&mut sink);
}

fn block(ours: UnixStream) {
    crate::block_on(async {
        let mut session = Session::channel(ours.into(), None).unwrap();
        if session.ready().await != Readiness::Ready {
            return;
        }
        for _ in 0..4 {
            match session.invoke(event(b"{}")).await {
                Answer::Closed { delivered, .. } => {
                    assert_eq!(session.delivered(), delivered);
                    return;
                }
                Answer::Response(body) | Answer::Error { body, .. } => {
                    assert!(body.len() <= MAX_RESPONSE_BYTES)
                }
                Answer::TooLarge | Answer::Streamed { .. } => {}
            }
        }
    });
}

/// A frame about the first event.
fn frame(kind: u8, content: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(content.len() + 5).unwrap().to_le_bytes().to_vec();
    frame.push(kind);
    frame.extend_from_slice(&1_u32.to_le_bytes());
    frame.extend_from_slice(content);
    frame
}

/// Conversations as they should be.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let ready = frame(b'R', b"");
    vec![
        [ready.clone(), frame(b'A', b"{\"ok\":true}")].concat(),
        [ready.clone(), frame(b'E', b"\x05\0Error{\"errorMessage\":\"x\"}")].concat(),
        frame(b'F', b"\x10\0Runtime.ExitError{}"),
        [ready, frame(b'A', &[b'x'; 9000])].concat(),
    ]
}

/// Beginnings of frames.
pub const WORDS: &[&str] =
    &["\x01\0\0\0R", "\x03\0\0\0A{}", "\x05\0\0\0E\0\0{}", "\x03\0\0\0F\0\0", "\x66\0\x60\0A", "\0\0\0\0"];
