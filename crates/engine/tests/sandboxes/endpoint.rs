//! The server's APIs inside sandboxes, credentials, and the age of environments.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lambkin_core::clock::{Clock, ManualClock};
use lambkin_core::credentials::{CredentialsError, RoleCredentials, SessionCredentials};
use lambkin_core::function::FunctionSpec;
use lambkin_core::invoke::Invoker as _;
use lambkin_engine::{EndpointAcceptor, Origin};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::support::{World, invocation, text, until};

const PORT: u16 = 4566;

/// Says who connects, and keeps the connection until the peer or the sandbox ends.
#[derive(Debug, Default)]
struct Greeter {
    origins: Mutex<Vec<Origin>>,
    open: Arc<AtomicUsize>,
    /// Ends the connections.
    release: Arc<Notify>,
}

struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl EndpointAcceptor for Greeter {
    fn port(&self) -> u16 {
        PORT
    }

    fn serve(&self, listener: TcpListener, origin: Origin) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.origins.lock().unwrap().push(origin.clone());
        let (open, release) = (Arc::clone(&self.open), Arc::clone(&self.release));
        Box::pin(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                open.fetch_add(1, Ordering::SeqCst);
                let (name, open) = (origin.function_arn.clone(), Open(Arc::clone(&open)));
                let release = Arc::clone(&release);
                connections.spawn(async move {
                    let _open = open;
                    stream.write_all(name.as_bytes()).await.unwrap();
                    stream.write_all(b"\n").await.unwrap();
                    let mut buffer = [0; 16];
                    tokio::select! {
                        _ = stream.read(&mut buffer) => {}
                        () = release.notified() => {}
                    }
                });
            }
        })
    }
}

/// Credentials that number themselves.
#[derive(Debug, Default)]
struct Numbers(AtomicU32);

impl RoleCredentials for Numbers {
    fn for_function(&self, spec: &FunctionSpec) -> Result<SessionCredentials, CredentialsError> {
        Ok(SessionCredentials {
            access_key_id: format!("ASIA{}", self.0.fetch_add(1, Ordering::SeqCst)),
            secret_access_key: spec.role.clone(),
            session_token: "token".to_owned(),
            expires_at: Duration::MAX,
        })
    }
}

const CALLER: &str = "
import os, socket
from urllib.parse import urlparse
held = []
def handler(event, context):
    url = urlparse(os.environ['AWS_ENDPOINT_URL'])
    one = socket.create_connection((url.hostname, url.port), timeout=5)
    held.append(one)
    said = one.makefile().readline().strip()
    return [said] + [os.environ['AWS_' + name] for name in ('ACCESS_KEY_ID', 'SECRET_ACCESS_KEY', 'SESSION_TOKEN')]
";

fn world(greeter: &Arc<Greeter>, clock: Arc<dyn Clock>) -> World {
    World::with_clock(clock, |config| {
        config.endpoint = Some(Arc::clone(greeter) as _);
        config.credentials = Some(Arc::new(Numbers::default()));
        config.idle_timeout = Duration::from_secs(3600 * 24);
    })
}

fn answer(name: &str, number: u32) -> String {
    format!(
        "[\"arn:aws:lambda:us-east-1:000000000000:function:{name}\", \"ASIA{number}\", \
         \"arn:aws:iam::000000000000:role/r\", \"token\"]"
    )
}

pub(crate) async fn functions_reach_the_server_as_themselves() {
    let greeter = Arc::new(Greeter::default());
    let world = world(&greeter, Arc::new(ManualClock::at(1_795_439_107_042)));
    let managed = Arc::new(world.python("managed", CALLER));
    let main = "
import json, sys, urllib.request
sys.path.insert(0, '/var/task')
base = 'http://127.0.0.1:9001/2018-06-01/runtime/invocation/'
while True:
    with urllib.request.urlopen(base + 'next') as event:
        request = event.headers['Lambda-Runtime-Aws-Request-Id']
    answer = json.dumps(handler(None, None)).encode()
    urllib.request.urlopen(base + request + '/response', data=answer).read()
";
    let custom = Arc::new(world.custom("custom", &format!("{CALLER}{main}")));
    assert_eq!(world.call(&managed, "{}").await, answer("managed", 0));
    assert_eq!(world.call(&custom, "{}").await, answer("custom", 1));
    assert_eq!(
        world.call(&managed, "{}").await,
        answer("managed", 0),
        "an environment keeps its credentials"
    );
    assert_eq!(greeter.open.load(Ordering::SeqCst), 3);
    {
        let origins = greeter.origins.lock().unwrap();
        assert_eq!(origins.len(), 2);
        assert_ne!(origins[0].environment, origins[1].environment);
        assert!(origins.iter().all(|origin| origin.environment.len() == 32));
    }
    let open = Arc::clone(&greeter.open);
    world.end().await;
    // Connections end with their sandboxes.
    until("all connections have ended", || open.load(Ordering::SeqCst) == 0).await;
}

pub(crate) async fn old_environments_are_replaced() {
    let greeter = Arc::new(Greeter::default());
    let clock = Arc::new(ManualClock::at(1_795_439_107_042));
    let world = world(&greeter, Arc::clone(&clock) as _);
    let spec = Arc::new(world.python("old", CALLER));
    assert_eq!(world.call(&spec, "{}").await, answer("old", 0));
    // However often it is used.
    clock.advance(Duration::from_secs(8 * 3600 - 1));
    world.engine.reap_idle();
    assert_eq!(world.call(&spec, "{}").await, answer("old", 0));
    // Before anyone has looked.
    clock.advance(Duration::from_secs(1));
    assert_eq!(world.call(&spec, "{}").await, answer("old", 1));
    let stats = world.engine.stats();
    assert_eq!((stats.environments, stats.reaped, stats.cold_starts), (1, 1, 2));
    // While nobody uses it.
    clock.advance(Duration::from_secs(8 * 3600));
    world.engine.reap_idle();
    assert_eq!(world.engine.stats().environments, 0);
    world.end().await;
}

pub(crate) async fn old_environments_finish_what_they_do() {
    let greeter = Arc::new(Greeter::default());
    let clock = Arc::new(ManualClock::at(1_795_439_107_042));
    let world = world(&greeter, Arc::clone(&clock) as _);
    let spec = Arc::new(world.python(
        "busy",
        "
import os, socket
def handler(event, context):
    if event:
        with socket.create_connection(('127.0.0.1', 4566)) as one:
            one.makefile().readline()
            one.recv(1)
    return os.environ['AWS_ACCESS_KEY_ID']
",
    ));
    assert_eq!(world.call(&spec, "0").await, "\"ASIA0\"");
    let call = tokio::spawn(world.engine.invoke(Arc::clone(&spec), invocation("1")));
    until("it waits for the greeter", || greeter.open.load(Ordering::SeqCst) == 1).await;
    clock.advance(Duration::from_secs(9 * 3600));
    world.engine.reap_idle();
    assert_eq!(world.engine.stats().environments, 1, "what is in use is left alone");
    greeter.release.notify_one();
    let outcome = call.await.unwrap().unwrap();
    assert_eq!(text(&outcome.payload), "\"ASIA0\"");
    assert_eq!(world.engine.stats().environments, 0, "it takes no further event");
    assert_eq!(world.call(&spec, "0").await, "\"ASIA1\"");
    world.end().await;
}
