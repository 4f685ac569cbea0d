//! The load generator: one thread, one connection for each client, requests back to back.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::Fault;

/// Requests of each client that are not counted.
const WARM_UP: usize = 20;

pub fn run(address: SocketAddr, clients: usize, seconds: f64, request: Vec<u8>) -> Result<(), Fault> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async move {
        let request: &'static [u8] = request.leak();
        // one request ahead, so that the first connection's answer is what all must be
        let mut first = Client::connect(address).await?;
        let expected: &'static [u8] = first.exchange(request).await?.to_vec().leak();
        let barrier = std::sync::Arc::new(tokio::sync::Barrier::new(clients + 1));
        let mut tasks = Vec::new();
        for _ in 0..clients {
            let barrier = barrier.clone();
            tasks.push(tokio::spawn(async move {
                let mut client = Client::connect(address).await?;
                for _ in 0..WARM_UP {
                    client.exchange(request).await?;
                }
                barrier.wait().await;
                let end = Instant::now() + Duration::from_secs_f64(seconds);
                let mut times = Vec::with_capacity(1 << 16);
                loop {
                    let began = Instant::now();
                    if began >= end {
                        return Ok::<_, Fault>(times);
                    }
                    let body = client.exchange(request).await?;
                    times.push(began.elapsed().as_nanos() as u64);
                    if body != expected {
                        return Err("an answer differs from the first".into());
                    }
                }
            }));
        }
        barrier.wait().await;
        let began = Instant::now();
        let mut times = Vec::new();
        for task in tasks {
            times.extend(task.await??);
        }
        let elapsed = began.elapsed().as_secs_f64();
        times.sort_unstable();
        let at = |quantile: f64| times[((times.len() - 1) as f64 * quantile) as usize] as f64 / 1e3;
        println!(
            "{}",
            json!({
                "requests": times.len(), "seconds": elapsed, "rps": times.len() as f64 / elapsed,
                "p50_us": at(0.5), "p90_us": at(0.9), "p99_us": at(0.99), "max_us": at(1.0),
            })
        );
        Ok(())
    })
}

struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    async fn connect(address: SocketAddr) -> Result<Self, Fault> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; 1 << 16] })
    }

    /// Sends the request; the body of a response that must be a success.
    async fn exchange(&mut self, request: &[u8]) -> Result<&[u8], Fault> {
        self.stream.write_all(request).await?;
        let mut have = 0;
        loop {
            let count = self.stream.read(&mut self.buffer[have..]).await?;
            if count == 0 {
                return Err("the server closed the connection".into());
            }
            have += count;
            let Some(head) = find(&self.buffer[..have], b"\r\n\r\n") else { continue };
            let text = std::str::from_utf8(&self.buffer[..head])?;
            if !text.starts_with("HTTP/1.1 200") || text.contains("x-amz-function-error") {
                let said = String::from_utf8_lossy(&self.buffer[..have]).into_owned();
                return Err(format!("not a success: {said}").into());
            }
            let length: usize = text
                .lines()
                .find_map(|line| line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("content-length")))
                .ok_or("no content-length")?
                .1
                .trim()
                .parse()?;
            let end = head + 4 + length;
            if self.buffer.len() < end {
                self.buffer.resize(end, 0);
            }
            while have < end {
                let count = self.stream.read(&mut self.buffer[have..]).await?;
                if count == 0 {
                    return Err("the server closed the connection".into());
                }
                have += count;
            }
            return Ok(&self.buffer[head + 4..end]);
        }
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}
