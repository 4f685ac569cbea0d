use std::io::{Read, Write};

use super::*;

fn pair() -> (ChannelSession, StdUnixStream) {
    let (ours, theirs) = StdUnixStream::pair().unwrap();
    (ChannelSession::new(ours.into()).unwrap(), theirs)
}

fn event(payload: &'static [u8]) -> Event<'static> {
    Event {
        request_id: "id-1",
        deadline_ms: 1234,
        invoked_function_arn: "arn:x",
        trace_id: "Root=1",
        client_context: Some("{\"a\":1}"),
        cognito_identity: None,
        payload: Bytes::from_static(payload),
        response: None,
    }
}

/// A frame about the event with this number.
fn about(number: u32, kind: u8, content: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(content.len() + 5).unwrap().to_le_bytes().to_vec();
    frame.push(kind);
    frame.extend_from_slice(&number.to_le_bytes());
    frame.extend_from_slice(content);
    frame
}

/// A frame about the first event.
fn frame(kind: u8, content: &[u8]) -> Vec<u8> {
    about(1, kind, content)
}

fn error_frame(number: u32, kind: u8, error_type: &str, body: &[u8]) -> Vec<u8> {
    let mut content = u16::try_from(error_type.len()).unwrap().to_le_bytes().to_vec();
    content.extend_from_slice(error_type.as_bytes());
    content.extend_from_slice(body);
    about(number, kind, &content)
}

/// Reads one `I` frame; its head and its event.
fn read_event(stream: &mut StdUnixStream) -> (String, Vec<u8>) {
    let mut prefix = [0; 13];
    stream.read_exact(&mut prefix).unwrap();
    let length = u32::from_le_bytes(prefix[..4].try_into().unwrap()) as usize;
    assert_eq!(prefix[4], b'I');
    let head_length = u32::from_le_bytes(prefix[9..].try_into().unwrap()) as usize;
    let mut head = vec![0; head_length];
    stream.read_exact(&mut head).unwrap();
    let mut payload = vec![0; length - 9 - head_length];
    stream.read_exact(&mut payload).unwrap();
    (String::from_utf8(head).unwrap(), payload)
}

#[tokio::test]
async fn parts_of_an_answer() {
    let (mut session, mut peer) = pair();
    let runtime = std::thread::spawn(move || {
        peer.write_all(&frame(b'R', b"")).unwrap();
        let (head, _) = read_event(&mut peer);
        assert!(head.ends_with(",\"stream\":true}"), "{head}");
        for part in [&b"one "[..], &vec![b'x'; 2 * PIECE]] {
            peer.write_all(&frame(b'C', part)).unwrap();
        }
        peer.write_all(&frame(b'A', b"")).unwrap();
        read_event(&mut peer);
        peer.write_all(&about(2, b'C', b"two")).unwrap();
        peer.write_all(&error_frame(2, b'E', "Mine", b"{}")).unwrap();
        read_event(&mut peer);
        peer.write_all(&about(3, b'A', b"whole")).unwrap();
        // a part that nobody asked for
        let (head, _) = read_event(&mut peer);
        assert!(!head.contains("stream"), "{head}");
        peer.write_all(&about(4, b'C', b"three")).unwrap();
        peer
    });
    assert_eq!(session.ready().await, Readiness::Ready);
    let (sink, mut pieces) = tokio::sync::mpsc::channel(8);
    let streamed = Event { response: Some(&sink), ..event(b"{}") };
    let bytes = 4 + 2 * PIECE as u64;
    assert_eq!(session.invoke(streamed.clone()).await, Answer::Streamed { bytes });
    let lengths: Vec<usize> =
        std::iter::from_fn(|| pieces.try_recv().ok()).map(|piece| piece.len()).collect();
    assert_eq!(lengths, [4, PIECE, PIECE]);
    let failed = Answer::Error { error_type: "Mine".into(), body: Bytes::from_static(b"{}") };
    assert_eq!(session.invoke(streamed.clone()).await, failed);
    assert_eq!(pieces.try_recv().unwrap(), "two");
    drop(pieces);
    assert_eq!(session.invoke(streamed).await, Answer::Response(Bytes::from_static(b"whole")));
    let answer = session.invoke(event(b"{}")).await;
    assert!(matches!(&answer, Answer::Closed { reason, .. } if !reason.is_empty()), "{answer:?}");
    runtime.join().unwrap();
}

#[tokio::test]
async fn events_and_answers() {
    let (mut session, mut peer) = pair();
    let runtime = std::thread::spawn(move || {
        peer.write_all(&frame(b'R', b"")).unwrap();
        let first = read_event(&mut peer);
        peer.write_all(&frame(b'A', b"\"one\"")).unwrap();
        read_event(&mut peer);
        peer.write_all(&error_frame(2, b'E', "", b"{}")).unwrap();
        read_event(&mut peer);
        // an answer in small pieces
        for byte in about(3, b'A', b"three") {
            peer.write_all(&[byte]).unwrap();
        }
        first
    });
    assert_eq!(session.ready().await, Readiness::Ready);
    assert_eq!(session.invoke(event(b"{}")).await, Answer::Response(Bytes::from_static(b"\"one\"")));
    assert_eq!(
        session.invoke(event(b"2")).await,
        Answer::Error { error_type: String::new(), body: Bytes::from_static(b"{}") }
    );
    assert_eq!(session.invoke(event(b"")).await, Answer::Response(Bytes::from_static(b"three")));
    let (head, payload) = runtime.join().unwrap();
    assert_eq!(head, r#"{"id":"id-1","deadline":1234,"arn":"arn:x","trace":"Root=1","client":"{\"a\":1}"}"#);
    assert_eq!(payload, b"{}");
}

#[tokio::test]
async fn large_events_and_answers_pass_whole() {
    static LARGE: [u8; 3_000_000] = [b'x'; 3_000_000];
    let (mut session, mut peer) = pair();
    let runtime = std::thread::spawn(move || {
        let (_, payload) = read_event(&mut peer);
        peer.write_all(&frame(b'A', &vec![b'y'; MAX_RESPONSE_BYTES])).unwrap();
        read_event(&mut peer);
        peer.write_all(&about(2, b'A', &vec![b'z'; MAX_RESPONSE_BYTES + 1])).unwrap();
        read_event(&mut peer);
        peer.write_all(&about(3, b'A', b"after")).unwrap();
        payload
    });
    let Answer::Response(answer) = session.invoke(event(&LARGE)).await else { panic!("no response") };
    assert!(answer.len() == MAX_RESPONSE_BYTES && answer.iter().all(|byte| *byte == b'y'));
    assert_eq!(session.invoke(event(b"{}")).await, Answer::TooLarge);
    assert_eq!(session.invoke(event(b"{}")).await, Answer::Response(Bytes::from_static(b"after")));
    assert_eq!(runtime.join().unwrap(), LARGE);
}

#[tokio::test]
async fn init_errors() {
    let (mut session, mut peer) = pair();
    peer.write_all(&error_frame(0, b'F', "Runtime.ImportModuleError", b"{\"a\":1}")).unwrap();
    assert_eq!(
        session.ready().await,
        Readiness::InitError {
            error_type: "Runtime.ImportModuleError".into(),
            body: Bytes::from_static(b"{\"a\":1}")
        }
    );
    drop(peer);
    assert_eq!(session.ready().await, Readiness::Closed { reason: String::new() });
}

#[tokio::test]
async fn waiting_for_ready_may_be_given_up_and_taken_up_again() {
    let (mut session, mut peer) = pair();
    peer.write_all(&frame(b'R', b"")[..3]).unwrap();
    tokio::select! {
        biased;
        ready = session.ready() => panic!("{ready:?}"),
        () = tokio::task::yield_now() => {}
    }
    peer.write_all(&frame(b'R', b"")[3..]).unwrap();
    assert_eq!(session.ready().await, Readiness::Ready);
}

#[tokio::test]
async fn a_second_answer_is_not_taken_for_the_next_event() {
    let (mut session, mut peer) = pair();
    let runtime = std::thread::spawn(move || {
        read_event(&mut peer);
        peer.write_all(&[frame(b'A', b"1"), frame(b'A', b"again")].concat()).unwrap();
        read_event(&mut peer);
        peer.write_all(&[about(2, b'A', b"2"), frame(b'A', b"again")].concat()).unwrap();
        peer
    });
    assert_eq!(session.invoke(event(b"{}")).await, Answer::Response(Bytes::from_static(b"1")));
    assert_eq!(session.invoke(event(b"{}")).await, Answer::Response(Bytes::from_static(b"2")));
    let answer = session.invoke(event(b"{}")).await;
    assert!(matches!(answer, Answer::Closed { delivered: false, .. }), "{answer:?}");
    drop(runtime.join());
}

#[tokio::test]
async fn a_late_second_answer_is_thrown_away() {
    let (mut session, mut peer) = pair();
    let runtime = std::thread::spawn(move || {
        read_event(&mut peer);
        peer.write_all(&frame(b'A', b"1")).unwrap();
        read_event(&mut peer);
        for late in [frame(b'A', b"late"), frame(b'C', b"late"), error_frame(1, b'E', "Late", b"{}")] {
            peer.write_all(&late).unwrap();
        }
        peer.write_all(&about(2, b'A', b"2")).unwrap();
    });
    assert_eq!(session.invoke(event(b"{}")).await, Answer::Response(Bytes::from_static(b"1")));
    assert_eq!(session.invoke(event(b"{}")).await, Answer::Response(Bytes::from_static(b"2")));
    runtime.join().unwrap();
}

#[tokio::test]
async fn a_runtime_that_is_gone_did_not_get_the_event() {
    let (mut session, peer) = pair();
    drop(peer);
    assert_eq!(
        session.invoke(event(b"{}")).await,
        Answer::Closed { delivered: false, reason: String::new() }
    );
    assert!(!session.delivered());
}

#[tokio::test]
async fn a_runtime_that_goes_before_reading_did_not_get_the_event() {
    let (mut session, peer) = pair();
    let (answer, ()) = tokio::join!(session.invoke(event(b"{}")), async { drop(peer) });
    assert_eq!(answer, Answer::Closed { delivered: false, reason: String::new() });
}

#[tokio::test]
async fn a_runtime_that_goes_after_reading_did_get_it() {
    let (mut session, mut peer) = pair();
    let runtime = std::thread::spawn(move || drop(read_event(&mut peer)));
    let answer = session.invoke(event(b"{}")).await;
    runtime.join().unwrap();
    assert_eq!(answer, Answer::Closed { delivered: true, reason: String::new() });
}

#[tokio::test]
async fn frames_out_of_order_or_malformed_end_the_conversation() {
    for bytes in [
        frame(b'R', b""),
        frame(b'Q', b"what"),
        frame(b'I', b"event"),
        vec![0, 0, 0, 0, b'A'],
        frame(b'E', b"\x01"),
        frame(b'E', b"\xff\xffshort"),
    ] {
        let (mut session, mut peer) = pair();
        peer.write_all(&bytes).unwrap();
        let answer = session.invoke(event(b"{}")).await;
        let Answer::Closed { delivered: true, reason } = answer else { panic!("{bytes:?}: {answer:?}") };
        assert!(!reason.is_empty(), "{bytes:?}");
    }
    let (mut session, mut peer) = pair();
    peer.write_all(&frame(b'A', b"early")).unwrap();
    assert!(matches!(session.ready().await, Readiness::Closed { reason } if !reason.is_empty()));
}

#[tokio::test]
async fn an_answer_cut_short_is_the_end() {
    let (mut session, mut peer) = pair();
    let runtime = std::thread::spawn(move || {
        read_event(&mut peer);
        peer.write_all(&frame(b'A', b"whole")[..7]).unwrap();
    });
    let answer = session.invoke(event(b"{}")).await;
    runtime.join().unwrap();
    assert_eq!(answer, Answer::Closed { delivered: true, reason: String::new() });
}
