//! The Runtime API over HTTP. Input: all that a runtime sends on one connection, before its process ends.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};

use lambkin_runtime::{Answer, MAX_RESPONSE_BYTES, Readiness, Session};

use crate::channel::event;

/// INIT and up to four events; whatever the runtime says, each call ends.
pub fn run(data: &[u8]) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    theirs.set_nonblocking(true).unwrap();
    let _ = theirs.write(data);
    theirs.shutdown(Shutdown::Write).unwrap();
    crate::block_on(async {
        let mut session = Session::http(listener).unwrap();
        session.process_end().announce();
        if session.ready().await != Readiness::Ready {
            return;
        }
        for _ in 0..4 {
            match session.invoke(event(b"{\"a\":1}")).await {
                Answer::Closed { .. } => return,
                Answer::Response(body) | Answer::Error { body, .. } => {
                    assert!(body.len() <= MAX_RESPONSE_BYTES)
                }
                Answer::TooLarge | Answer::Streamed { .. } => {}
            }
        }
    });
    let mut answers = Vec::new();
    let _ = theirs.read_to_end(&mut answers);
    assert!(answers.is_empty() || answers.starts_with(b"HTTP/1."), "{}", String::from_utf8_lossy(&answers));
}

const NEXT: &str = "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: 127.0.0.1:9001\r\n\r\n";

fn post(path: &str, headers: &str, body: &str) -> String {
    format!(
        "POST /2018-06-01/runtime/{path} HTTP/1.1\r\nHost: 127.0.0.1:9001\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Conversations as they should be.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let id = "invocation/8c1f6a52-0000-4000-8000-000000000001";
    let response = post(&format!("{id}/response"), "", "{\"ok\":true}");
    let failure = post(
        &format!("{id}/error"),
        "Lambda-Runtime-Function-Error-Type: Function.X\r\n",
        "{\"errorMessage\":\"m\",\"errorType\":\"T\",\"stackTrace\":[]}",
    );
    let chunked = format!(
        "POST /2018-06-01/runtime/{id}/response HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\
Lambda-Runtime-Function-Response-Mode: streaming\r\nTrailer: Lambda-Runtime-Function-Error-Type\r\n\r\n\
5\r\nhello\r\n0\r\nLambda-Runtime-Function-Error-Type: x\r\n\r\n"
    );
    let init = post("init/error", "Lambda-Runtime-Function-Error-Type: Runtime.X\r\n", "{}");
    [
        format!("{NEXT}{response}{NEXT}"),
        format!("{NEXT}{failure}"),
        format!("{NEXT}{chunked}"),
        init,
        "GET /2020-01-01/extension/event/next HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
    ]
    .map(String::into_bytes)
    .to_vec()
}

/// Words of the API.
pub const WORDS: &[&str] = &[
    NEXT,
    "\r\n\r\n",
    "\r\n",
    "/response",
    "/error",
    "init/error",
    "invocation/",
    "Content-Length: ",
    "POST ",
    "GET ",
    "HTTP/1.0",
    "Connection: close\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Expect: 100-continue\r\n",
    "Lambda-Runtime-Function-Error-Type: ",
    "Lambda-Runtime-Function-Response-Mode: streaming\r\n",
    "%2F",
    "//",
    "é",
];
