//! Measures what sandboxes cost: `measure [rounds]`, as root. Prints medians and minima in microseconds.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::indexing_slicing, reason = "a measuring tool")]

use std::io::Read;
use std::time::{Duration, Instant};

use lambkin_sandbox::{BindMount, Isolation, Sandbox, SandboxSpec, Spawner, SpawnerConfig};

fn spec(id: String, script: &str) -> SandboxSpec {
    let link = |link: &str, target: &str| (link.to_owned(), target.to_owned());
    SandboxSpec {
        id,
        command: vec!["/bin/sh".to_owned(), "-c".to_owned(), script.to_owned()],
        environment: vec![("PATH".to_owned(), "/usr/bin".to_owned())],
        working_dir: "/".to_owned(),
        binds: vec![BindMount { source: "/usr".into(), target: "/usr".to_owned(), optional: false }],
        symlinks: vec![link("/bin", "usr/bin"), link("/lib", "usr/lib"), link("/lib64", "usr/lib64")],
        files: Vec::new(),
        overlays: Vec::new(),
        memory_bytes: 128 << 20,
        tmp_bytes: 512 << 20,
        pids_max: 64,
        open_files_max: 1024,
        cpu_quota_us: None,
        network: lambkin_sandbox::NetworkSpec::default(),
        listen_ports: vec![9001],
        channel: true,
        zygote: None,
        helpers: Vec::new(),
    }
}

/// Waits for the first byte of output.
fn first_byte(sandbox: &mut Sandbox) {
    let mut output = std::fs::File::from(sandbox.take_output().unwrap());
    let mut byte = [0];
    while output.read(&mut byte).is_err() {
        std::thread::yield_now();
    }
}

fn show(name: &str, mut times: Vec<Duration>) {
    times.sort();
    let micros = |index: usize| times[index].as_micros();
    println!(
        "{name:<44} p50 {:>7}  p90 {:>7}  min {:>7}",
        micros(times.len() / 2),
        micros(times.len() * 9 / 10),
        micros(0)
    );
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    lambkin_sandbox::run_spawner_if_asked();
    let rounds: usize = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(100);
    let start = Instant::now();
    let work_dir = std::env::temp_dir().join("lambkin-measure");
    let config = SpawnerConfig {
        uid_base: 290_000,
        uid_count: 1000,
        ..SpawnerConfig::new("measure", &work_dir, Isolation::Root)
    };
    let spawner = Spawner::start(config).unwrap();
    println!("spawner start {:?}", start.elapsed());

    let (mut create, mut running, mut ended, mut gone) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut freeze, mut thaw, mut usage) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let spec = spec(format!("s{round}"), "echo; exec sleep 1000");
        let start = Instant::now();
        let mut sandbox = spawner.create(spec).await.unwrap();
        create.push(start.elapsed());
        first_byte(&mut sandbox);
        running.push(start.elapsed());
        let timed = |times: &mut Vec<Duration>, call: &dyn Fn(&Sandbox)| {
            let start = Instant::now();
            call(&sandbox);
            times.push(start.elapsed());
        };
        timed(&mut usage, &|sandbox| _ = sandbox.usage());
        timed(&mut freeze, &|sandbox| sandbox.freeze().unwrap());
        timed(&mut thaw, &|sandbox| sandbox.thaw().unwrap());
        let start = Instant::now();
        sandbox.kill();
        sandbox.wait().await;
        ended.push(start.elapsed());
        while spawner.stats().pending_teardowns > 0 {
            tokio::task::yield_now().await;
        }
        gone.push(start.elapsed());
    }
    show("create returns", create);
    show("first byte of /bin/sh", running);
    show("usage()", usage);
    show("freeze()", freeze);
    show("thaw()", thaw);
    show("kill() to wait()", ended);
    show("kill() to nothing left", gone);

    let start = Instant::now();
    let creates: Vec<_> = (0..100)
        .map(|number| {
            let spawner = spawner.clone();
            tokio::spawn(
                async move { spawner.create(spec(format!("p{number}"), "sleep 1000")).await.unwrap() },
            )
        })
        .collect();
    let mut held = Vec::new();
    for create in creates {
        held.push(create.await.unwrap());
    }
    println!("100 at once: {:?}, {:?} each", start.elapsed(), start.elapsed() / 100);
    let start = Instant::now();
    spawner.shutdown().await;
    println!("shutdown with 100: {:?}", start.elapsed());
}
