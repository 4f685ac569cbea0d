//! The commands' side of `admin.sock`.

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

use super::Command;

/// Sends a command to the server; its answer.
pub(super) async fn command(stream: UnixStream, command: &Command) -> anyhow::Result<Value> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::post("/v1/command")
        .header(header::HOST, "lambkin")
        .body(Full::new(Bytes::from(serde_json::to_vec(command)?)))?;
    let answered = async {
        let body = sender.send_request(request).await?.into_body();
        body.collect().await
    };
    let body = answered.await.context("the server did not answer")?.to_bytes();
    connection.abort();
    let mut answer: Value = serde_json::from_slice(&body).context("the server's answer is not JSON")?;
    if let Some(error) = answer.get("error").and_then(Value::as_str) {
        return Err(anyhow!("{error}"));
    }
    answer.get_mut("ok").map(Value::take).context("the server's answer has no result")
}
