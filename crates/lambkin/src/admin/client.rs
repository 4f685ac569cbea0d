//! The commands' side of `admin.sock`.

use std::io::Write;

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::UnixStream;

use super::Command;

/// Sends a command to the server; its answer.
pub(super) async fn command(stream: UnixStream, command: &Command) -> anyhow::Result<Value> {
    let response = post(stream, "/v1/command", serde_json::to_vec(command)?).await?;
    result(response).await
}

/// Copies a backup of the server to `out`.
pub(super) async fn backup(stream: UnixStream, logs: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    let response = post(stream, "/v1/backup", json!({ "logs": logs }).to_string().into()).await?;
    if response.status() != StatusCode::OK {
        result(response).await?;
        bail!("the server's answer is neither a backup nor an error");
    }
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        let frame = frame.context("the server broke the backup off; its log says why")?;
        if let Ok(piece) = frame.into_data() {
            out.write_all(&piece).context("write the backup")?;
        }
    }
    Ok(())
}

async fn post(stream: UnixStream, path: &str, body: Vec<u8>) -> anyhow::Result<Response<Incoming>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the answer.
    tokio::spawn(connection);
    let request = Request::post(path)
        .header(header::HOST, "lambkin")
        .header(header::CONNECTION, "close")
        .body(Full::new(Bytes::from(body)))?;
    sender.send_request(request).await.context("the server did not answer")
}

async fn result(response: Response<Incoming>) -> anyhow::Result<Value> {
    let body = response.into_body().collect().await.context("the server did not answer")?.to_bytes();
    let mut answer: Value = serde_json::from_slice(&body).context("the server's answer is not JSON")?;
    if let Some(error) = answer.get("error").and_then(Value::as_str) {
        return Err(anyhow!("{error}"));
    }
    answer.get_mut("ok").map(Value::take).context("the server's answer has no result")
}
