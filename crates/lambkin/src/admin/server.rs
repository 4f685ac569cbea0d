//! The server's side of `admin.sock`: HTTP/1.1 with JSON.
//!
//! - `POST /v1/command` takes a [`Command`] and answers `{"ok": ...}`.
//! - `POST /v1/backup` takes `{"logs": bool}` and answers the backup's bytes. If it fails on the way, the
//!   connection breaks.
//!
//! Both answer what is refused with status 400 or 404 and `{"error": "..."}`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Either, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::stream::{StreamBody, stream};
use super::{Admin, AdminSocket, Command};

/// Most connections at once; further ones wait.
const CONNECTIONS: usize = 16;
/// Largest request, bytes.
const MAX_BODY: usize = 64 << 10;
/// Time a request has to arrive.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves until dropped.
pub(crate) async fn serve(socket: AdminSocket, admin: Arc<Admin>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match socket.listener.accept().await {
            Ok((stream, _)) if is_trusted(&stream) => {
                let admin = Arc::clone(&admin);
                connections.spawn(async move {
                    serve_connection(stream, admin).await;
                    drop(place);
                });
            }
            Ok(_) => tracing::warn!("another user's program connected to the admin socket; refused"),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection on the admin socket");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Whether the peer is the server's own user or root; the socket's mode says the same.
fn is_trusted(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == own)
}

async fn serve_connection(stream: UnixStream, admin: Arc<Admin>) {
    let service = service_fn(move |request| {
        let admin = Arc::clone(&admin);
        async move { Ok::<_, Infallible>(answer(admin, request).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "admin connection ended");
    }
}

type Answer = Response<Either<Full<Bytes>, StreamBody>>;

/// What `/v1/backup` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BackupRequest {
    logs: bool,
}

async fn answer(admin: Arc<Admin>, request: Request<Incoming>) -> Answer {
    let (parts, body) = request.into_parts();
    let body = match tokio::time::timeout(PATIENCE, Limited::new(body, MAX_BODY).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        _ => return refuse(StatusCode::BAD_REQUEST, "the request did not arrive whole"),
    };
    let not_known =
        |error| refuse(StatusCode::BAD_REQUEST, &format!("not a command of this server: {error}"));
    match (&parts.method, parts.uri.path()) {
        (&Method::POST, "/v1/command") => match serde_json::from_slice::<Command>(&body) {
            Ok(command) => match admin.execute(command).await {
                Ok(value) => respond(StatusCode::OK, &json!({ "ok": value })),
                Err(error) => refuse(StatusCode::BAD_REQUEST, &error.to_string()),
            },
            Err(error) => not_known(error),
        },
        (&Method::POST, "/v1/backup") => match serde_json::from_slice::<BackupRequest>(&body) {
            Ok(BackupRequest { logs }) => backup(admin, logs).await,
            Err(error) => not_known(error),
        },
        _ => refuse(StatusCode::NOT_FOUND, "nothing here"),
    }
}

async fn backup(admin: Arc<Admin>, logs: bool) -> Answer {
    let snapshot = match admin.snapshot(logs).await {
        Ok(snapshot) => snapshot,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let (mut writer, body) = stream(Handle::current());
    // A thread's work: hashing, and copying databases.
    tokio::task::spawn_blocking(move || {
        let written = admin.write_backup(snapshot, logs, &mut writer);
        let abandoned = writer.is_abandoned();
        match written.and_then(|()| Ok(writer.finish()?)) {
            Ok(()) => tracing::info!(logs, "backup made"),
            Err(_) if abandoned => tracing::info!("backup broken off by who asked for it"),
            Err(error) => tracing::error!(%error, "backup failed"),
        }
    });
    Response::new(Either::Right(body))
}

fn refuse(status: StatusCode, error: &str) -> Answer {
    respond(status, &json!({ "error": error }))
}

fn respond(status: StatusCode, value: &Value) -> Answer {
    let mut response = Response::new(Either::Left(Full::new(value.to_string().into())));
    *response.status_mut() = status;
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
