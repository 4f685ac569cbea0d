//! Sandboxes with a way to the outside. The outside is a network namespace with public addresses.

use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lambkin_sandbox::{
    Destination, LoopbackSocket, NetworkConfig, Sandbox, SandboxSpec, SpawnerConfig, Uplink,
};

use crate::loss::{kill, spawner_of};
use crate::support::*;

/// Answers each connection on port 80 and each message to port 53 with the sender's address.
const OUTSIDE: &str = "
import socket, threading
def answer(connection, peer):
    connection.sendall(peer[0].encode()); connection.recv(1); connection.close()
def tcp(port):
    listener = socket.create_server(('0.0.0.0', port))
    while True:
        connection, peer = listener.accept()
        threading.Thread(target=answer, args=(connection, peer)).start()
def udp():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('0.0.0.0', 53))
    while True:
        data, peer = s.recvfrom(100); s.sendto(peer[0].encode(), peer)
for port in (80, 81):
    threading.Thread(target=tcp, args=(port,)).start()
threading.Thread(target=udp).start()
print('ready', flush=True)
";

/// Helpers for programs in sandboxes.
const INSIDE: &str = "
import socket, sys, time, errno
def tcp(host, port, source=None):
    s = socket.socket(); s.settimeout(2)
    try:
        if source: s.bind((source, 0))
        s.connect((host, port)); return s.recv(100).decode()
    except OSError as error: return errno.errorcode.get(error.errno, type(error).__name__)
    finally: s.close()
def udp(host, port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(2)
    try: s.connect((host, port)); s.send(b'x'); return s.recv(100).decode()
    except OSError as error: return errno.errorcode.get(error.errno, type(error).__name__)
    finally: s.close()
";

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Whether this process is root and makes sandboxes as root; says so on stderr if not.
fn is_root() -> bool {
    let root = by_root() && own_uid() == 0;
    if !root {
        eprintln!("skipped: links to the outside need root");
    }
    root
}

fn run(command: &str) -> bool {
    let mut words = command.split(' ');
    let mut command = Command::new(words.next().unwrap());
    command.args(words).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// A namespace with two public addresses and servers on them.
struct Outside {
    name: String,
    server: Child,
    /// The host's address towards it.
    host: Ipv4Addr,
    address: Ipv4Addr,
    other: Ipv4Addr,
}

impl Outside {
    fn new() -> Outside {
        let (process, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let name = format!("out{process}x{number}");
        // Not by `ip netns`, whose mounts every process of the host would see.
        let mut server = Command::new("unshare")
            .args(["--net", "python3", "-c", OUTSIDE])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = OwnedFd::from(server.stdout.take().unwrap());
        assert_eq!(read_until(&output, "\n"), "ready\n");
        let pid = server.id();
        assert!(run(&format!("ip link add {name} type veth peer name eth0 netns {pid}")));
        // Documentation's own block, of which each test takes eight addresses that are free.
        let base = (0..32)
            .map(|step| Ipv4Addr::new(203, 0, 113, ((process + number + step) % 32 * 8) as u8))
            .find(|base| {
                let host = Ipv4Addr::from_bits(base.to_bits() + 1);
                let routes =
                    Command::new("ip").args(["-4", "route", "show", "table", "all"]).output().unwrap();
                let taken = String::from_utf8_lossy(&routes.stdout).contains(&format!("{base}/29"));
                !taken
                    && run(&format!("ip addr add {host}/29 dev {name}"))
                    && run(&format!("ip link set {name} up"))
            })
            .unwrap();
        let [host, address, other] = [1, 2, 3].map(|step| Ipv4Addr::from_bits(base.to_bits() + step));
        let inside = format!("nsenter -t {pid} -n ip");
        for command in [
            format!("{inside} addr add {address}/29 dev eth0"),
            format!("{inside} addr add {other}/29 dev eth0"),
            format!("{inside} link set lo up"),
            format!("{inside} link set eth0 up"),
            format!("{inside} route add default via {host}"),
        ] {
            assert!(run(&command), "{command}");
        }
        Outside { name, server, host, address, other }
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
        run(&format!("ip link del {}", self.name));
    }
}

/// A spawner with a network; says why if there is none.
async fn host(lists: Vec<Vec<Destination>>) -> Option<(Host, SpawnerConfig)> {
    if !is_root() {
        return None;
    }
    if !run("ip -V") {
        eprintln!("skipped: the program ip is missing");
        return None;
    }
    let mut config = config();
    config.network = Some(NetworkConfig { pool: None, lists });
    let spawner = start(&config);
    match spawner.network().await {
        Ok(_) => {
            let host = Host { spawner, instance: config.instance.clone(), uid_base: config.uid_base };
            Some((host, config))
        }
        Err(error) => {
            eprintln!("skipped: {error}");
            None
        }
    }
}

fn with(uplink: Option<Uplink>, id: &str, program: &str) -> SandboxSpec {
    let mut spec = python(id, &format!("{INSIDE}{program}"));
    spec.network.uplink = uplink;
    spec
}

/// A sandbox that stays, and what it said first.
async fn stay(host: &Host, uplink: Uplink, id: &str) -> (Sandbox, String) {
    let program = "
server = socket.create_server(('0.0.0.0', 7000))
probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); probe.connect(('203.0.113.0', 9))
print(probe.getsockname()[0], flush=True)
time.sleep(1000)
";
    let mut sandbox = host.create(with(Some(uplink), id, program)).await;
    let output = sandbox.take_output().unwrap();
    let address = tokio::task::spawn_blocking(move || read_until(&output, "\n")).await.unwrap();
    (sandbox, address.trim().to_owned())
}

/// Names of our links, and tables, of an instance.
fn leftovers(instance: &str) -> Vec<String> {
    let text = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let hash = instance
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let table = format!("lambkin_{}", instance.replace('-', "_"));
    let links = text("ip", &["-o", "link"]);
    let routes = text("ip", &["-4", "route"]);
    let mut left: Vec<String> =
        links.lines().filter(|line| line.contains(&format!("lbk{hash:08x}"))).map(str::to_owned).collect();
    left.extend(routes.lines().filter(|line| line.contains(&format!("metric {hash}"))).map(str::to_owned));
    left.extend(
        text("nft", &["list", "tables"])
            .lines()
            .filter(|line| line.ends_with(&format!(" {table}")))
            .map(str::to_owned),
    );
    left
}

fn elements(instance: &str, set: &str) -> usize {
    let table = format!("lambkin_{}", instance.replace('-', "_"));
    let output = Command::new("nft").args(["list", "set", "inet", &table, set]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_once("elements = {").map_or(0, |(_, list)| list.split(',').count())
}

#[tokio::test]
async fn the_internet_and_nothing_else() {
    let Some((host, _)) = host(Vec::new()).await else { return };
    let outside = Outside::new();
    let listener = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (other, other_address) = stay(&host, Uplink::Internet, "other").await;
    let Outside { address, host: own, .. } = &outside;
    let program = format!(
        "
print(tcp('{address}', 80), udp('{address}', 53))
print(tcp('{own}', {port}), tcp('127.0.0.1', {port}), tcp('{other_address}', 7000), tcp('{other_address}', 7001))
print({{tcp(host, 80) for host in ('10.0.0.1', '169.254.169.254', '172.16.0.1', '192.168.1.1', '100.64.0.1', '0.1.2.3')}})
print([name for _, name in socket.if_nameindex()])
print(open('/proc/net/if_inet6').read().split()[-1])
"
    );
    let (output, _) = host.run(with(Some(Uplink::Internet), "one", &program)).await;
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[0], format!("{own} {own}"), "{output}");
    assert_eq!(lines[1], "ECONNREFUSED ECONNREFUSED ECONNREFUSED ECONNREFUSED", "{output}");
    let refused = ["{'ECONNREFUSED'}", "{'ECONNREFUSED', 'ENETUNREACH'}", "{'ENETUNREACH', 'ECONNREFUSED'}"];
    assert!(refused.contains(&lines[2]), "{output}");
    assert_eq!(lines[3..], ["['lo', 'eth0']", "lo"], "{output}");
    // The outside cannot begin.
    let inward = Command::new("nsenter")
        .args(["-t", &outside.server.id().to_string(), "-n", "timeout", "2", "python3", "-c"])
        .arg(format!("import socket; socket.create_connection(('{other_address}', 7000), 1)"))
        .output()
        .unwrap();
    assert!(!inward.status.success());
    drop(other);
    until("sandboxes have ended", || host.spawner.stats().live == 0).await;
    host.settled().await;
    assert_eq!(elements(&host.instance, "internet"), 0);
    assert_eq!(
        leftovers(&host.instance).len(),
        2,
        "the route and the table: {:?}",
        leftovers(&host.instance)
    );
    let instance = host.instance.clone();
    host.finish().await;
    assert_eq!(leftovers(&instance), Vec::<String>::new());
}

#[tokio::test]
async fn a_sandbox_cannot_take_anothers_address() {
    let Some((host, _)) = host(Vec::new()).await else { return };
    let outside = Outside::new();
    let (one, own_address) = stay(&host, Uplink::Internet, "one").await;
    let (two, foreign) = stay(&host, Uplink::Internet, "two").await;
    // What only root inside could do: give the interface a further address, and send from it.
    let pid = processes(host.uid_base, 1)[0].to_string();
    let within = |program: &str| {
        let output = Command::new("nsenter").args(["-t", &pid, "-n", "sh", "-c", program]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let try_from = |source: &str| {
        let program = format!("{INSIDE}\nprint(tcp('{}', 80, '{source}'))", outside.address);
        within(&format!("ip addr add {source}/32 dev eth0; python3 -c \"{program}\""))
    };
    assert_eq!(within("ip -4 -o addr show dev eth0 | grep -c inet"), "1");
    assert_eq!(try_from(&own_address), outside.host.to_string());
    for source in [foreign.as_str(), &outside.host.to_string(), "198.51.100.7", "127.0.0.9"] {
        assert!(
            ["TimeoutError", "ECONNREFUSED", "EINVAL", "timeout"].contains(&try_from(source).as_str()),
            "{source}"
        );
    }
    drop((one, two));
    host.finish().await;
}

#[tokio::test]
async fn lists() {
    let outside = if is_root() && run("ip -V") { Outside::new() } else { return };
    let listener = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let to = |net: String, port| Destination { net: net.parse().unwrap(), port };
    let exact = vec![to(outside.address.to_string(), 80), to(outside.host.to_string(), port)];
    let wide = vec![to("0.0.0.0/0".to_owned(), 80), to("0.0.0.0/0".to_owned(), port)];
    let Some((host, _)) = host(vec![exact, wide, Vec::new()]).await else { return };
    let Outside { address, other, host: own, .. } = &outside;
    let program = format!(
        "print(tcp('{address}', 80), tcp('{address}', 81), tcp('{other}', 80), udp('{address}', 53) != '{own}', tcp('{own}', {port}), tcp('10.0.0.1', 80))"
    );
    let accept = std::thread::spawn(move || {
        use std::io::Write;
        listener.accept().unwrap().0.write_all(b"host").unwrap();
    });
    let (output, _) = host.run(with(Some(Uplink::List(0)), "exact", &program)).await;
    assert_eq!(output.trim(), format!("{own} ECONNREFUSED ECONNREFUSED True host ECONNREFUSED"));
    accept.join().unwrap();
    let (output, _) = host.run(with(Some(Uplink::List(1)), "wide", &program)).await;
    assert_eq!(output.trim(), format!("{own} ECONNREFUSED {own} True ECONNREFUSED ECONNREFUSED"));
    // What is opened later, to one sandbox alone.
    let program = format!(
        "
print(tcp('{address}', 80), flush=True)
for _ in range(400):
    if tcp('{address}', 80) == '{own}': break
    time.sleep(0.05)
s = socket.create_connection(('{address}', 80)); s.recv(100)
print('opened', tcp('{address}', 81), flush=True)
for _ in range(400):
    if tcp('{address}', 80) != '{own}': break
    time.sleep(0.05)
s.sendall(b'x'); print('closed', s.recv(1), flush=True)
"
    );
    let mut sandbox = host.create(with(Some(Uplink::List(2)), "later", &program)).await;
    let output = sandbox.take_output().unwrap();
    let admission = sandbox.take_admission().unwrap();
    assert_eq!(read_until(&output, "\n"), "ECONNREFUSED\n");
    admission.open(&[(outside.address, 80)], Duration::from_secs(60)).unwrap();
    admission.open(&[(outside.address, 80)], Duration::from_secs(3600)).unwrap();
    assert_eq!(elements(&host.instance, "learned"), 1);
    assert_eq!(read_until(&output, "\n"), "opened ECONNREFUSED\n");
    drop(admission);
    assert_eq!(read_until(&output, "\n"), "closed b''\n");
    assert_eq!(elements(&host.instance, "learned"), 0);
    drop(sandbox);
    host.finish().await;
}

#[tokio::test]
async fn many_at_once_and_a_killed_spawner() {
    let Some((host, config)) = host(Vec::new()).await else { return };
    let host = std::sync::Arc::new(host);
    let begun = std::time::Instant::now();
    let all: Vec<_> = (0..150)
        .map(|number| {
            let host = std::sync::Arc::clone(&host);
            let mut spec = shell(&format!("s{number}"), "sleep 1000");
            spec.network.uplink = Some(Uplink::Internet);
            tokio::spawn(async move { host.create(spec).await })
        })
        .collect();
    let mut sandboxes = Vec::new();
    for one in all {
        sandboxes.push(one.await.unwrap());
    }
    eprintln!("150 sandboxes with links in {:?}", begun.elapsed());
    assert_eq!(elements(&host.instance, "internet"), 150);
    sandboxes.truncate(100);
    until("sandboxes have ended", || host.spawner.stats().live == 100).await;
    host.settled().await;
    assert_eq!(elements(&host.instance, "internet"), 100);
    // Everything is left lying about; the next spawner clears it, and its sandboxes have a way out.
    kill(spawner_of(host.uid_base));
    host.spawner.died().await;
    drop(sandboxes);
    let mut spec = shell("again", "cat /proc/net/route");
    spec.network.uplink = Some(Uplink::Internet);
    let (output, _) = host.run(spec).await;
    assert!(output.contains("eth0"), "{output}");
    assert_eq!(leftovers(&config.instance).len(), 2, "{:?}", leftovers(&config.instance));
    assert_eq!(elements(&config.instance, "internet"), 0);
    std::sync::Arc::into_inner(host).unwrap().finish().await;
    assert_eq!(leftovers(&config.instance), Vec::<String>::new());
}

#[tokio::test]
async fn sockets_on_loopback() {
    let Some(host) = Host::new() else { return };
    let tcp = LoopbackSocket::Tcp("127.0.0.53:53".parse().unwrap());
    let udp = LoopbackSocket::Udp("127.0.0.53:53".parse().unwrap());
    let program = "
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(30)
s.connect(('127.0.0.53', 53)); s.send(b'ping'); print(s.recv(100))
print(tcp('127.0.0.53', 53), tcp('127.0.0.1', 53))
";
    let mut spec = with(None, "sockets", program);
    spec.listen_ports = vec![9001];
    spec.network.sockets = vec![udp, tcp];
    let mut sandbox = host.create(spec).await;
    let mut sockets = sandbox.take_sockets().into_iter();
    assert!(sandbox.take_sockets().is_empty() && sandbox.take_admission().is_none());
    let (kind, socket) = sockets.next().unwrap();
    assert_eq!(kind, udp);
    let socket = tokio::net::UdpSocket::from_std(socket.into()).unwrap();
    let mut buffer = [0; 16];
    let (length, peer) = socket.recv_from(&mut buffer).await.unwrap();
    socket.send_to(&buffer[..length], peer).await.unwrap();
    let (kind, listener) = sockets.next().unwrap();
    assert_eq!(kind, tcp);
    let listener = tokio::net::TcpListener::from_std(listener.into()).unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    stream.try_write(b"there").unwrap();
    drop(stream);
    let output = sandbox.take_output().unwrap();
    let text = tokio::task::spawn_blocking(move || read_all(output)).await.unwrap();
    assert_eq!(text, "b'ping'\nthere ECONNREFUSED\n");
    drop(sandbox);
    host.finish().await;
}
