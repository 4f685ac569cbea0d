//! A fake runtime speaks raw HTTP to a session.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::JoinHandle;

use super::*;
use crate::session::MAX_RESPONSE_BYTES;

const NEXT: &str = "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n";

fn session() -> (HttpSession, SocketAddr) {
    let listener = StdTcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (HttpSession::new(listener).unwrap(), address)
}

fn event(id: &'static str) -> Event<'static> {
    Event {
        request_id: id,
        deadline_ms: 1234,
        invoked_function_arn: "arn:x",
        trace_id: "Root=1-2;Sampled=0",
        client_context: None,
        cognito_identity: None,
        payload: bytes::Bytes::from_static(b"{\"n\":1}"),
        response: None,
    }
}

/// A client connection that reads replies with a content length.
struct Client(BufReader<TcpStream>);

struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Client {
    fn connect(address: SocketAddr) -> Self {
        Self(BufReader::new(TcpStream::connect(address).unwrap()))
    }

    fn send(&mut self, request: impl AsRef<[u8]>) {
        self.0.get_mut().write_all(request.as_ref()).unwrap();
    }

    fn reply(&mut self) -> Reply {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(self.0.read_line(&mut head).unwrap(), 0, "closed after {head:?}");
        }
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        self.0.read_exact(&mut body).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Reply { status, head, body: String::from_utf8(body).unwrap() }
    }

    fn call(&mut self, request: impl AsRef<[u8]>) -> Reply {
        self.send(request);
        self.reply()
    }
}

fn post(path: &str, headers: &str, body: &str) -> String {
    format!(
        "POST /2018-06-01/runtime/{path} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn runtime<T: Send + 'static>(
    address: SocketAddr,
    run: impl FnOnce(&mut Client) -> T + Send + 'static,
) -> JoinHandle<T> {
    std::thread::spawn(move || run(&mut Client::connect(address)))
}

fn response(body: &'static [u8]) -> Answer {
    Answer::Response(bytes::Bytes::from_static(body))
}

#[tokio::test]
async fn events_and_answers() {
    let (mut session, address) = session();
    let peer = runtime(address, |client| {
        let next = client.call(NEXT);
        let accepted = client.call(post("invocation/id-1/response", "", "\"one\""));
        client.call(NEXT);
        client.call(post("invocation/id-2/error", "Lambda-Runtime-Function-Error-Type: My.Error\r\n", "{}"));
        client.call(NEXT);
        // chunked, and in two pieces
        client.send(
            "POST /2018-06-01/runtime/invocation/id-3/response HTTP/1.1\r\nHost: x\r\n\
             Transfer-Encoding: chunked\r\n\r\n3\r\nthr\r\n2\r\nee\r\n0\r\n\r\n",
        );
        (next, accepted, client.reply())
    });
    assert_eq!(session.ready().await, Readiness::Ready);
    assert_eq!(session.invoke(event("id-1")).await, response(b"\"one\""));
    assert!(session.delivered());
    assert_eq!(
        session.invoke(event("id-2")).await,
        Answer::Error { error_type: "My.Error".into(), body: bytes::Bytes::from_static(b"{}") }
    );
    assert_eq!(session.invoke(event("id-3")).await, response(b"three"));
    let (next, accepted, chunked) = peer.join().unwrap();
    assert_eq!((next.status, next.body.as_str()), (200, "{\"n\":1}"));
    for header in [
        "Lambda-Runtime-Aws-Request-Id: id-1\r\n",
        "Lambda-Runtime-Trace-Id: Root=1-2;Sampled=0\r\n",
        "Lambda-Runtime-Invoked-Function-Arn: arn:x\r\n",
        "Lambda-Runtime-Deadline-Ms: 1234\r\n",
        "Content-Type: application/json\r\n",
    ] {
        assert!(next.head.contains(header), "{header} in {}", next.head);
    }
    assert!(!next.head.contains("Client-Context") && !next.head.contains("Cognito"));
    assert_eq!((accepted.status, accepted.body.trim()), (202, "{\"status\":\"OK\"}"));
    assert_eq!(chunked.status, 202);
}

#[tokio::test]
async fn a_connection_for_each_request() {
    let (mut session, address) = session();
    let peer = std::thread::spawn(move || {
        for id in ["a", "b"] {
            Client::connect(address).call(NEXT);
            Client::connect(address).call(post(&format!("invocation/{id}/response"), "", id));
        }
    });
    assert_eq!(session.ready().await, Readiness::Ready);
    assert_eq!(session.invoke(event("a")).await, response(b"a"));
    assert_eq!(session.invoke(event("b")).await, response(b"b"));
    peer.join().unwrap();
}

#[tokio::test]
async fn init_errors() {
    let (mut session, address) = session();
    let peer = runtime(address, |client| {
        let accepted =
            client.call(post("init/error", "Lambda-Runtime-Function-Error-Type: Runtime.Bad\r\n", "{}"));
        (accepted, client.call(post("init/error", "", "{}")), client.call(NEXT))
    });
    assert_eq!(
        session.ready().await,
        Readiness::InitError { error_type: "Runtime.Bad".into(), body: bytes::Bytes::from_static(b"{}") }
    );
    // keep polling so that the further calls are served
    tokio::select! {
        biased;
        _ = session.invoke(event("x")) => {}
        _ = tokio::task::spawn_blocking(move || {
            let (accepted, again, next) = peer.join().unwrap();
            assert_eq!(accepted.status, 202);
            assert_eq!(again.status, 403);
            assert_eq!(next.status, 403);
            assert!(next.body.contains("\"errorType\":\"InvalidStateTransition\""), "{}", next.body);
            assert!(next.body.contains("Transition from InitError to Ready failed"), "{}", next.body);
        }) => {}
    }
}

#[tokio::test]
async fn what_a_runtime_may_not_do_is_refused_and_does_no_harm() {
    let (mut session, address) = session();
    let peer = runtime(address, |client| {
        let early = client.call(post("invocation/id-1/response", "", "early"));
        client.call(NEXT);
        let wrong_id = client.call(post("invocation/id-9/response", "", "wrong"));
        let again = client.call(NEXT);
        let init = client.call(post("init/error", "", "{}"));
        let missing = client.call("GET /2018-06-01/runtime/nothing HTTP/1.1\r\nHost: x\r\n\r\n");
        let method = client.call("GET /2018-06-01/runtime/init/error HTTP/1.1\r\nHost: x\r\n\r\n");
        let version = client.call("GET /2020-01-01/extension/register HTTP/1.1\r\nHost: x\r\n\r\n");
        client.call(post("invocation/id-1/response", "", "right"));
        let twice = client.call(post("invocation/id-1/response", "", "twice"));
        client.call(NEXT);
        let stale = client.call(post("invocation/id-1/response", "", "stale"));
        client.call(post("invocation/id-2/response", "", "second"));
        [early, wrong_id, again, init, missing, method, version, twice, stale]
    });
    assert_eq!(session.ready().await, Readiness::Ready);
    assert_eq!(session.invoke(event("id-1")).await, response(b"right"));
    assert_eq!(session.invoke(event("id-2")).await, response(b"second"));
    let replies = peer.join().unwrap();
    assert_eq!(replies.each_ref().map(|reply| reply.status), [400, 400, 200, 403, 404, 405, 405, 403, 400]);
    assert_eq!(replies[0].body, r#"{"errorMessage":"Invalid request ID","errorType":"InvalidRequestID"}"#);
    assert!(replies[2].head.contains("Lambda-Runtime-Aws-Request-Id: id-1"));
    assert!(replies[7].body.contains("Transition from ResponseSent to InvocationResponse failed"));
}

#[tokio::test]
async fn responses_over_the_limit_are_read_and_refused() {
    let (mut session, address) = session();
    let peer = runtime(address, |client| {
        client.call(NEXT);
        let over = client.call(post("invocation/a/response", "", &"x".repeat(MAX_RESPONSE_BYTES + 1)));
        let after = client.call(post("invocation/a/error", "", "{}"));
        client.call(NEXT);
        let exact = client.call(post("invocation/b/response", "", &"x".repeat(MAX_RESPONSE_BYTES)));
        (over, after, exact)
    });
    assert_eq!(session.ready().await, Readiness::Ready);
    assert_eq!(session.invoke(event("a")).await, Answer::TooLarge);
    let Answer::Response(body) = session.invoke(event("b")).await else { panic!("no response") };
    assert_eq!(body.len(), MAX_RESPONSE_BYTES);
    let (over, after, exact) = peer.join().unwrap();
    assert_eq!(over.status, 413);
    assert_eq!(
        over.body,
        r#"{"errorMessage":"Exceeded maximum allowed payload size (6291556 bytes).","errorType":"RequestEntityTooLarge"}"#
    );
    assert_eq!((after.status, exact.status), (403, 202));
}

#[tokio::test]
async fn streamed_responses_may_end_in_an_error() {
    let (mut session, address) = session();
    let peer = runtime(address, |client| {
        client.call(NEXT);
        let streamed = client.call(
            "POST /2018-06-01/runtime/invocation/a/response HTTP/1.1\r\nHost: x\r\n\
             Lambda-Runtime-Function-Response-Mode: streaming\r\nTransfer-Encoding: chunked\r\n\
             Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\r\n\r\n\
             2\r\nhi\r\n0\r\nLambda-Runtime-Function-Error-Type: Runtime.Broken\r\n\
             Lambda-Runtime-Function-Error-Body: eyJhIjoxfQ==\r\n\r\n",
        );
        client.call(NEXT);
        let mode =
            client.call(post("invocation/b/response", "Lambda-Runtime-Function-Response-Mode: x\r\n", "hi"));
        (streamed, mode)
    });
    assert_eq!(session.ready().await, Readiness::Ready);
    assert_eq!(
        session.invoke(event("a")).await,
        Answer::Error { error_type: "Runtime.Broken".into(), body: bytes::Bytes::from_static(b"{\"a\":1}") }
    );
    let answer = session.invoke(event("b")).await;
    assert!(
        matches!(&answer, Answer::Error { error_type, .. } if error_type == "Runtime.InvalidResponseModeHeader")
    );
    let (streamed, mode) = peer.join().unwrap();
    assert_eq!((streamed.status, mode.status), (202, 400));
}

#[tokio::test]
async fn a_response_cut_short_is_an_error() {
    let (mut session, address) = session();
    let peer = runtime(address, |client| {
        client.call(NEXT);
        client.send(
            "POST /2018-06-01/runtime/invocation/a/response HTTP/1.1\r\nContent-Length: 100\r\n\r\nshort",
        );
    });
    assert_eq!(session.ready().await, Readiness::Ready);
    let answer = session.invoke(event("a")).await;
    assert!(
        matches!(&answer, Answer::Error { error_type, .. } if error_type == "Runtime.TruncatedResponse"),
        "{answer:?}"
    );
    peer.join().unwrap();
}

#[tokio::test]
async fn an_event_nobody_fetched_is_not_delivered() {
    let (mut session, address) = session();
    let peer = runtime(address, |client| {
        client.call(NEXT);
        client.call(post("invocation/a/response", "", "a"));
    });
    assert_eq!(session.ready().await, Readiness::Ready);
    session.invoke(event("a")).await;
    peer.join().unwrap();
    tokio::select! {
        biased;
        answer = session.invoke(event("b")) => panic!("{answer:?}"),
        () = tokio::task::yield_now() => {}
    }
    assert!(!session.delivered());
}

#[tokio::test]
async fn what_a_process_sends_until_its_end_counts() {
    let (mut session, address) = session();
    let end = session.process_end();
    let peer = runtime(address, |client| {
        client.call(NEXT);
        client.call(post("invocation/a/response", "", "a"));
    });
    assert_eq!(session.ready().await, Readiness::Ready);
    end.announce();
    assert_eq!(session.invoke(event("a")).await, response(b"a"));
    peer.join().unwrap();
    let gone = session.invoke(event("b")).await;
    assert_eq!(gone, Answer::Closed { delivered: false, reason: String::new() });
}

#[tokio::test]
async fn many_connections_wait_for_their_turn() {
    let (mut session, address) = session();
    let idle: Vec<_> = (0..MAX_CONNECTIONS + 5).map(|_| TcpStream::connect(address).unwrap()).collect();
    let peer = runtime(address, |client| {
        client.call(NEXT);
        client.call(post("invocation/a/response", "", "a"));
    });
    tokio::select! {
        biased;
        ready = session.ready() => panic!("{ready:?}"),
        () = tokio::task::yield_now() => {}
    }
    drop(idle);
    assert_eq!(session.ready().await, Readiness::Ready);
    assert_eq!(session.invoke(event("a")).await, response(b"a"));
    peer.join().unwrap();
}

#[tokio::test]
async fn a_streamed_response_goes_on_as_it_comes() {
    let (mut session, address) = session();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let peer = runtime(address, move |client| {
        client.call(NEXT);
        client.send(
            "POST /2018-06-01/runtime/invocation/a/response HTTP/1.1\r\nHost: x\r\n\
             Lambda-Runtime-Function-Response-Mode: streaming\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n",
        );
        wait.recv().unwrap();
        client.send("3\r\ntwo\r\n0\r\n\r\n");
        client.reply().status
    });
    assert_eq!(session.ready().await, Readiness::Ready);
    let (sink, mut pieces) = tokio::sync::mpsc::channel(8);
    let streamed = Event { response: Some(&sink), ..event("a") };
    let first = async {
        let first = pieces.recv().await.unwrap();
        go.send(()).unwrap();
        first
    };
    let (answer, first) = tokio::join!(session.invoke(streamed), first);
    assert_eq!((answer, &first[..]), (Answer::Streamed { bytes: 6 }, &b"one"[..]));
    assert_eq!(pieces.recv().await.unwrap(), "two");
    assert_eq!(peer.join().unwrap(), 202);
}
