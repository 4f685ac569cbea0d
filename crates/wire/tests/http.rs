//! HTTP over real sockets.

#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use lambkin_wire::{Mode, ServeOptions};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use common::Server;

const INVOKE: &str = "POST /2015-03-31/functions/f/invocations HTTP/1.1\r\nHost: h\r\n";

async fn dev() -> Server {
    Server::start(Mode::Dev, ServeOptions::default()).await
}

struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    async fn connect(server: &Server) -> Self {
        Self { stream: TcpStream::connect(server.address).await.unwrap(), buffer: Vec::new() }
    }

    async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads more; whether there was any.
    async fn fill(&mut self) -> bool {
        self.stream.read_buf(&mut self.buffer).await.is_ok_and(|read| read > 0)
    }

    /// Head and body of the next answer; the head in lower case.
    async fn answer(&mut self) -> (String, Vec<u8>) {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(self.fill().await, "closed: {}", String::from_utf8_lossy(&self.buffer));
        };
        let head = String::from_utf8(self.buffer.drain(..end).collect()).unwrap().to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length = length.map_or(0, |length| length.trim().parse().unwrap());
        while self.buffer.len() < length {
            assert!(self.fill().await);
        }
        (head, self.buffer.drain(..length).collect())
    }

    async fn closed(&mut self) -> bool {
        !self.fill().await
    }
}

fn status(head: &str) -> &str {
    head.split(' ').nth(1).unwrap_or_default()
}

#[tokio::test]
async fn connections_are_kept_and_pipelined() {
    let server = dev().await;
    let mut client = Client::connect(&server).await;
    let one = format!("{INVOKE}Content-Length: 2\r\n\r\n");
    client.send(&format!("{one}10{one}20")).await;
    for body in ["10", "20"] {
        let (head, got) = client.answer().await;
        assert_eq!((status(&head), got.as_slice()), ("200", body.as_bytes()));
        for header in ["date: ", "x-amzn-requestid: ", "content-type: application/json", "content-length: 2"]
        {
            assert!(head.contains(&format!("\r\n{header}")), "{header} in {head}");
        }
    }
    client.send(&format!("{INVOKE}Transfer-Encoding: chunked\r\n\r\n1\r\n3\r\n1\r\n0\r\n0\r\n\r\n")).await;
    assert_eq!(client.answer().await.1, b"30");
}

#[tokio::test]
async fn expect_continue_is_answered() {
    let server = dev().await;
    let mut client = Client::connect(&server).await;
    client.send(&format!("{INVOKE}Content-Length: 2\r\nExpect: 100-continue\r\n\r\n")).await;
    assert_eq!(status(&client.answer().await.0), "100");
    client.send("42").await;
    assert_eq!(client.answer().await.1, b"42");
    // Who asks first is refused first.
    client.send(&format!("{INVOKE}Content-Length: 7000000\r\nExpect: 100-continue\r\n\r\n")).await;
    assert_eq!(status(&client.answer().await.0), "413");
    assert!(client.closed().await);
}

#[tokio::test]
async fn a_client_that_writes_first_sees_its_refusal() {
    let server = dev().await;
    let mut client = Client::connect(&server).await;
    let body = "1".repeat(7_000_000);
    client.send(&format!("{INVOKE}Content-Length: 7000000\r\n\r\n{body}")).await;
    let (head, got) = client.answer().await;
    assert_eq!(status(&head), "413");
    assert!(String::from_utf8(got).unwrap().contains("6291456 bytes for the InvokeFunction operation"));
    client.send(&format!("{INVOKE}Content-Length: 2\r\n\r\n{{}}")).await;
    assert_eq!(status(&client.answer().await.0), "200", "the connection goes on");
}

#[tokio::test]
async fn strangers_get_no_body_read() {
    let server = Server::start(Mode::Strict, ServeOptions::default()).await;
    let mut client = Client::connect(&server).await;
    client.send("POST /2015-03-31/functions HTTP/1.1\r\nHost: h\r\nContent-Length: 60000000\r\n\r\n").await;
    assert_eq!(status(&client.answer().await.0), "403");
}

#[tokio::test]
async fn heads_are_limited_in_size_and_time() {
    let options = ServeOptions {
        max_head: 16 << 10,
        header_timeout: Duration::from_millis(200),
        idle_timeout: Duration::from_millis(200),
        ..ServeOptions::default()
    };
    let server = Server::start(Mode::Dev, options).await;
    let mut client = Client::connect(&server).await;
    client.send(&format!("{INVOKE}X-Long: {}\r\n\r\n", "a".repeat(32 << 10))).await;
    assert_eq!(status(&client.answer().await.0), "431");
    // Nothing sent, part of a preface, part of a head, an idle connection: all end.
    for start in ["", "PRI * HT", INVOKE] {
        let mut client = Client::connect(&server).await;
        client.send(start).await;
        assert!(client.closed().await, "{start}");
    }
    let mut client = Client::connect(&server).await;
    client.send(&format!("{INVOKE}Content-Length: 2\r\n\r\n{{}}")).await;
    assert_eq!(status(&client.answer().await.0), "200");
    assert!(client.closed().await);
    // A request in work is not idle, however long it takes.
    let mut client = Client::connect(&server).await;
    client.send("GET /2015-03-31/functions/waits HTTP/1.1\r\nHost: h\r\n\r\n").await;
    server.begun.acquire().await.unwrap().forget();
    let mut idle = Client::connect(&server).await;
    assert!(idle.closed().await);
    let mut idle = Client::connect(&server).await;
    assert!(idle.closed().await);
    server.go.add_permits(1);
    assert_eq!(status(&client.answer().await.0), "200");
}

#[tokio::test]
async fn shutdown_lets_requests_finish() {
    let mut server = dev().await;
    let mut client = Client::connect(&server).await;
    client.send("GET /2015-03-31/functions/waits HTTP/1.1\r\nHost: h\r\n\r\n").await;
    server.begun.acquire().await.unwrap().forget();
    let mut idle = Client::connect(&server).await;
    server.stop();
    assert!(idle.closed().await, "an idle connection is closed at once");
    server.go.add_permits(1);
    let (head, _) = client.answer().await;
    assert_eq!(status(&head), "200");
    assert!(client.closed().await);
    let address = server.address;
    server.stopped().await;
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn shutdown_cuts_what_outlasts_the_grace_period() {
    let options = ServeOptions { grace: Duration::from_millis(50), ..ServeOptions::default() };
    let mut server = Server::start(Mode::Dev, options).await;
    let mut client = Client::connect(&server).await;
    client.send("GET /2015-03-31/functions/waits HTTP/1.1\r\nHost: h\r\n\r\n").await;
    server.begun.acquire().await.unwrap().forget();
    server.stop();
    server.stopped().await;
    assert!(client.closed().await);
}

#[tokio::test]
async fn connections_beyond_the_limit_wait() {
    let options = ServeOptions { max_connections: 1, ..ServeOptions::default() };
    let server = Server::start(Mode::Dev, options).await;
    let request = format!("{INVOKE}Content-Length: 1\r\n\r\n1");
    let mut first = Client::connect(&server).await;
    first.send(&request).await;
    first.answer().await;
    let mut second = Client::connect(&server).await;
    second.send(&request).await;
    let early = tokio::time::timeout(Duration::from_millis(50), second.fill()).await;
    assert!(early.is_err(), "no place yet");
    drop(first);
    assert_eq!(second.answer().await.1, b"1");
}

#[tokio::test]
async fn http2_with_prior_knowledge() {
    let server = dev().await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let uri = format!("http://{}/2015-03-31/functions/f/invocations", server.address);
    let body = Bytes::from(vec![b'1'; 3 << 20]);
    let mut calls = Vec::new();
    for _ in 0..4 {
        let request = http::Request::post(&uri).body(Full::new(body.clone())).unwrap();
        calls.push(sender.send_request(request));
    }
    for call in calls {
        let response = call.await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), body);
    }
}

#[tokio::test]
async fn broken_http_harms_nobody() {
    let server = dev().await;
    for text in [
        "nonsense\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: no\r\n\r\n",
    ] {
        let mut client = Client::connect(&server).await;
        client.send(text).await;
        while client.fill().await {}
        let answer = String::from_utf8_lossy(&client.buffer).into_owned();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    let mut client = Client::connect(&server).await;
    client.send("GET /%ff%00 HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(status(&client.answer().await.0), "404");
}
