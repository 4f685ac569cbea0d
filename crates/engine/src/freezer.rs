//! Freezes environments that have been idle for a few milliseconds: one task for all of them. Bursts of
//! invocations so pay nothing for it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::cell::{Cell, Freezing};
use crate::stats::Counters;

/// Environments in the order in which they may be due.
#[derive(Debug)]
pub(crate) struct Freezer {
    after: Duration,
    queue: Mutex<VecDeque<(Instant, Weak<Cell>)>>,
    wake: Notify,
}

impl Freezer {
    pub(crate) fn new(after: Duration) -> Self {
        Self { after, queue: Mutex::default(), wake: Notify::new() }
    }

    /// Looks after an environment that has just been let go.
    pub(crate) fn add(&self, cell: &Arc<Cell>) {
        if self.push(self.after, Arc::downgrade(cell)) {
            self.wake.notify_one();
        }
    }

    /// Queues; whether it is the only one.
    fn push(&self, delay: Duration, cell: Weak<Cell>) -> bool {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.push_back((Instant::now() + delay, cell));
        queue.len() == 1
    }

    /// The first if it is due, else when it is.
    fn next(&self) -> Option<Result<Weak<Cell>, Instant>> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let (due, _) = queue.front()?;
        if *due > Instant::now() {
            return Some(Err(*due));
        }
        queue.pop_front().map(|(_, cell)| Ok(cell))
    }

    /// Freezes what is due, for ever.
    pub(crate) async fn run(self: Arc<Self>, counters: Arc<Counters>) {
        loop {
            let cell = match self.next() {
                None => {
                    self.wake.notified().await;
                    continue;
                }
                Some(Err(due)) => {
                    tokio::time::sleep_until(due.into()).await;
                    continue;
                }
                Some(Ok(cell)) => cell,
            };
            let Some(cell) = cell.upgrade() else { continue };
            match cell.freeze(self.after) {
                Ok(Freezing::Frozen) => {
                    counters.freezes.add();
                    // Each costs tens of microseconds; let others run in between.
                    tokio::task::yield_now().await;
                }
                Ok(Freezing::Later(delay)) => {
                    self.push(delay, Arc::downgrade(&cell));
                }
                Ok(Freezing::Not) => {}
                Err(error) => tracing::debug!(%error, "cannot freeze a sandbox"),
            }
        }
    }
}
