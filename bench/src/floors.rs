//! The least that each path can cost: the same HTTP server, then nothing, a socket pair, or a Runtime API
//! without anything else around it. No sandbox, no logs, no limits.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::Fault;

/// The loop at the other end of the socket pair, in Python.
const PYTHON_LOOP: &str = "
import json, socket
channel = socket.socket(fileno=0)
view = memoryview(bytearray(1 << 16))
def handler(event, context):
    return {'statusCode': 200, 'body': 'hello'}
while True:
    count = channel.recv_into(view)
    if not count:
        break
    answer = json.dumps(handler(json.loads(bytes(view[4:count])), None)).encode()
    channel.sendall(len(answer).to_bytes(4, 'little') + answer)
";

/// The same in Node.js.
const NODE_LOOP: &str = "
const fs = require('fs');
const buffer = Buffer.alloc(1 << 16);
const handler = async (event, context) => ({ statusCode: 200, body: 'hello' });
(async () => {
  for (;;) {
    const count = fs.readSync(0, buffer, 0, buffer.length, null);
    if (!count) break;
    const answer = JSON.stringify(await handler(JSON.parse(buffer.toString('utf8', 4, count)), null));
    const size = buffer.write(answer, 4);
    buffer.writeUInt32LE(size, 0);
    fs.writeSync(0, buffer, 0, size + 4);
  }
})();
";

pub enum Floor {
    Echo,
    Pair { pairs: Vec<std::os::unix::net::UnixStream>, children: Vec<Child> },
    Runtime { count: usize, program: String },
}

impl Floor {
    /// `language` is `python` or `node`, `program` its interpreter.
    pub fn pair(count: usize, language: &str, program: &str) -> Result<Self, Fault> {
        let arguments = match language {
            "python" => ["-c", PYTHON_LOOP],
            "node" => ["-e", NODE_LOOP],
            _ => return Err(format!("no loop in {language}").into()),
        };
        let mut pairs = Vec::new();
        let mut children = Vec::new();
        for _ in 0..count {
            let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
            ours.set_nonblocking(true)?;
            let theirs = Stdio::from(std::os::fd::OwnedFd::from(theirs));
            children.push(Command::new(program).args(arguments).stdin(theirs).spawn()?);
            pairs.push(ours);
        }
        Ok(Self::Pair { pairs, children })
    }
}

pub fn serve(address: SocketAddr, floor: Floor) -> Result<(), Fault> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async move {
        match floor {
            Floor::Echo => listen(address, |body| async { Ok(body) }).await,
            Floor::Pair { pairs, children } => {
                let _children = Children(children);
                let pool =
                    Pool::new(pairs.into_iter().map(UnixStream::from_std).collect::<Result<Vec<_>, _>>()?);
                listen(address, move |body| {
                    let pool = pool.clone();
                    async move {
                        let mut channel = pool.take().await?;
                        let mut frame = Vec::with_capacity(4 + body.len());
                        frame.extend_from_slice(&(body.len() as u32).to_le_bytes());
                        frame.extend_from_slice(&body);
                        channel.write_all(&frame).await?;
                        let mut answer = vec![0; 4096];
                        let count = channel.read(&mut answer).await?;
                        answer.truncate(count);
                        pool.give(channel);
                        Ok(Bytes::from(answer).slice(4..))
                    }
                })
                .await
            }
            Floor::Runtime { count, program } => {
                let mut instances = Vec::new();
                let mut children = Vec::new();
                for _ in 0..count {
                    let (instance, child) = Instance::start(&program).await?;
                    instances.push(instance);
                    children.push(child);
                }
                let _children = Children(children);
                let pool = Pool::new(instances);
                listen(address, move |body| {
                    let pool = pool.clone();
                    async move {
                        let instance = pool.take().await?;
                        let (answer, answered) = oneshot::channel();
                        instance.events.send((body, answer)).map_err(|_| "the instance has ended")?;
                        let answer = answered.await?;
                        pool.give(instance);
                        Ok(answer)
                    }
                })
                .await
            }
        }
    })
}

/// Instances that wait for work, most recently used first.
struct Pool<T> {
    idle: std::sync::Mutex<Vec<T>>,
    free: tokio::sync::Semaphore,
}

impl<T> Pool<T> {
    fn new(idle: Vec<T>) -> Arc<Self> {
        let free = tokio::sync::Semaphore::new(idle.len());
        Arc::new(Self { idle: std::sync::Mutex::new(idle), free })
    }

    async fn take(&self) -> Result<T, Fault> {
        self.free.acquire().await?.forget();
        let mut idle = self.idle.lock().map_err(|_| "poisoned")?;
        idle.pop().ok_or_else(|| "no instance".into())
    }

    fn give(&self, instance: T) {
        if let Ok(mut idle) = self.idle.lock() {
            idle.push(instance);
        }
        self.free.add_permits(1);
    }
}

struct Children(Vec<Child>);

impl Drop for Children {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

async fn listen<F, R>(address: SocketAddr, answer: F) -> Result<(), Fault>
where
    F: Fn(Bytes) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Result<Bytes, Fault>> + Send + 'static,
{
    let listener = TcpListener::bind(address).await?;
    println!("ready");
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted?.0,
            _ = terminated.recv() => return Ok(()),
        };
        stream.set_nodelay(true)?;
        let answer = answer.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let answer = answer.clone();
            async move {
                let body = match request.into_body().collect().await {
                    Ok(body) => body.to_bytes(),
                    Err(_) => Bytes::new(),
                };
                let response = match answer(body).await {
                    Ok(body) => Response::new(Full::new(body)),
                    Err(error) => {
                        let mut response = Response::new(Full::new(Bytes::from(error.to_string())));
                        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                        response
                    }
                };
                Ok::<_, Infallible>(response)
            }
        });
        tokio::spawn(async move {
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

type Event = (Bytes, oneshot::Sender<Bytes>);

/// A process that speaks the Runtime API, and the way to give it events.
struct Instance {
    events: mpsc::UnboundedSender<Event>,
}

impl Instance {
    async fn start(program: &str) -> Result<(Self, Child), Fault> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (events, queue) = mpsc::unbounded_channel::<Event>();
        let queue = Arc::new(Mutex::new(queue));
        let pending = Arc::new(std::sync::Mutex::new(None));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let (queue, pending) = (queue.clone(), pending.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    runtime_api(request, queue.clone(), pending.clone())
                });
                tokio::spawn(async move {
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        let child = Command::new(program)
            .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", "bench")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1769")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "x")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", "x")
            .stdin(Stdio::null())
            // it complains when the floor goes away under it
            .stderr(Stdio::null())
            .spawn()?;
        Ok((Self { events }, child))
    }
}

async fn runtime_api(
    request: Request<Incoming>,
    queue: Arc<Mutex<mpsc::UnboundedReceiver<Event>>>,
    pending: Arc<std::sync::Mutex<Option<oneshot::Sender<Bytes>>>>,
) -> Result<Response<Full<Bytes>>, Fault> {
    if request.method() == Method::GET {
        let (event, answer) = queue.lock().await.recv().await.ok_or("no more events")?;
        *pending.lock().map_err(|_| "poisoned")? = Some(answer);
        let response = Response::builder()
            .header("Content-Type", "application/json")
            .header("Lambda-Runtime-Aws-Request-Id", "00000000-0000-4000-8000-000000000000")
            .header("Lambda-Runtime-Deadline-Ms", "4102444800000")
            .header(
                "Lambda-Runtime-Invoked-Function-Arn",
                "arn:aws:lambda:us-east-1:000000000000:function:bench",
            )
            .header(
                "Lambda-Runtime-Trace-Id",
                "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0",
            )
            .body(Full::new(event))?;
        return Ok(response);
    }
    let body = request.into_body().collect().await?.to_bytes();
    if let Some(answer) = pending.lock().map_err(|_| "poisoned")?.take() {
        let _ = answer.send(body);
    }
    let mut response = Response::new(Full::new(Bytes::from_static(b"{\"status\":\"OK\"}\n")));
    *response.status_mut() = StatusCode::ACCEPTED;
    Ok(response)
}
