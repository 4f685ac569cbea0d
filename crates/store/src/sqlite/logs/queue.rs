//! What waits for the log writer: events and commands, in the order in which they were given.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lambkin_core::ids::Scope;
use lambkin_core::logs::{LogEvent, LogStreamKey};
use lambkin_core::metadata::StoreError;
use tokio::sync::oneshot;

use super::hold::Held;
use crate::lock;

/// Items in one transaction at most.
const MAX_BATCH: usize = 512;
/// Bytes in one transaction at most, but always one item.
const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;
/// How long events that nobody waits for are collected.
const COLLECT: Duration = Duration::from_millis(200);
/// Bytes of them that end the collecting.
const COLLECT_BYTES: usize = 1024 * 1024;
/// How long to leave the disk alone after it refused events that nobody waits for.
const RETRY: Duration = Duration::from_secs(1);
/// Memory that an event needs beside its text.
const EVENT_MEMORY: usize = 64;

pub(super) type HoldAnswer = oneshot::Sender<Result<Held, StoreError>>;
pub(super) type Answer = oneshot::Sender<Result<(), StoreError>>;

/// Events of one call.
#[derive(Debug)]
pub(super) struct Append {
    pub(super) key: LogStreamKey,
    pub(super) events: Vec<LogEvent>,
    pub(super) now: i64,
    /// `None` when nobody waits.
    pub(super) answer: Option<Answer>,
}

impl Append {
    fn memory(&self) -> usize {
        let texts: usize = self.events.iter().map(|event| event.message.len() + EVENT_MEMORY).sum();
        texts + EVENT_MEMORY
    }
}

/// A change to the index.
#[derive(Debug)]
pub(super) enum Change {
    CreateGroup { scope: Scope, group: String, now: i64 },
    DeleteGroup { scope: Scope, group: String },
    SetRetention { scope: Scope, group: String, days: Option<u32> },
    CreateStream { key: LogStreamKey, now: i64 },
    DeleteStream { key: LogStreamKey },
}

#[derive(Debug)]
enum Item {
    Append(Append),
    Change(Change, Answer),
    /// Answered when all before it was written; `sums`: and is counted in the index.
    Flush {
        sums: bool,
        answer: Answer,
    },
    Expire(Answer),
    Hold(HoldAnswer),
}

/// What the writer does next.
#[derive(Debug)]
pub(super) enum Work {
    Append(Vec<Append>),
    Changes(Vec<(Change, Answer)>),
    Flush {
        retry: Vec<Append>,
        sums: bool,
        answers: Vec<Answer>,
    },
    Expire(Answer),
    Hold(HoldAnswer),
    /// Nothing came before the deadline.
    Idle,
    /// Nothing will come any more.
    End,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Item>,
    /// Events that the disk refused and nobody waits for; older than `items`.
    refused: VecDeque<Append>,
    retry_at: Option<Instant>,
    /// Memory of the events in `items` and `refused` that nobody waits for.
    unawaited: usize,
    /// Items that somebody waits for.
    awaited: usize,
    /// When collecting began.
    since: Option<Instant>,
    /// The writer works on something that it has taken.
    working: bool,
    closed: bool,
    last_try: bool,
}

/// The queue between callers and the writer.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    limit: usize,
    dropped: AtomicU64,
}

impl Queue {
    /// A queue that holds at most `limit` bytes of events that nobody waits for.
    pub(super) fn new(limit: usize) -> Self {
        Self { state: Mutex::default(), wake: Condvar::new(), limit, dropped: AtomicU64::new(0) }
    }

    /// Events dropped so far.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub(super) fn count_dropped(&self, events: usize) {
        if events > 0 && self.dropped.fetch_add(events as u64, Ordering::Relaxed) == 0 {
            tracing::warn!(events, "log events dropped; further ones are only counted");
        }
    }

    pub(super) fn append(&self, append: Append) {
        let mut state = lock(&self.state);
        if state.closed {
            drop(state);
            // The answer, if any, is dropped with it: its receiver reports the stop.
            self.count_dropped(append.events.len());
            return;
        }
        let awaited = append.answer.is_some();
        let mut lost = 0;
        if awaited {
            state.awaited += 1;
        } else {
            state.unawaited += append.memory();
            state.since.get_or_insert_with(Instant::now);
        }
        state.items.push_back(Item::Append(append));
        if !awaited {
            lost = state.drop_oldest(self.limit);
        }
        let wake = awaited || state.unawaited >= COLLECT_BYTES || state.items.len() == 1;
        drop(state);
        if wake {
            self.wake.notify_one();
        }
        self.count_dropped(lost);
    }

    pub(super) fn change(&self, change: Change, answer: Answer) {
        self.push(Item::Change(change, answer));
    }

    /// Asks for the answer when everything given before is written; `None` if it is already.
    pub(super) fn flush(&self) -> Option<oneshot::Receiver<Result<(), StoreError>>> {
        {
            let state = lock(&self.state);
            if state.items.is_empty() && state.refused.is_empty() && !state.working {
                return None;
            }
        }
        let (answer, receiver) = oneshot::channel();
        self.push(Item::Flush { sums: false, answer });
        Some(receiver)
    }

    /// As [`Self::flush`], and the index counts what was written.
    pub(super) fn flush_sums(&self, answer: Answer) {
        self.push(Item::Flush { sums: true, answer });
    }

    pub(super) fn expire(&self, answer: Answer) {
        self.push(Item::Expire(answer));
    }

    /// Asks for a hold on the files as they are when everything given before is written.
    pub(super) fn hold(&self, answer: HoldAnswer) {
        self.push(Item::Hold(answer));
    }

    fn push(&self, item: Item) {
        let mut state = lock(&self.state);
        if !state.closed {
            state.awaited += 1;
            state.items.push_back(item);
            drop(state);
            self.wake.notify_one();
        }
    }

    /// Lets the writer end when it has done what waits; nothing new is taken.
    pub(super) fn close(&self) {
        lock(&self.state).closed = true;
        self.wake.notify_one();
    }

    /// Drops what waits, when the writer is gone.
    pub(super) fn abandon(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        let items = std::mem::take(&mut state.items);
        let refused = std::mem::take(&mut state.refused);
        drop(state);
        let waiting = items.iter().filter_map(|item| match item {
            Item::Append(append) => Some(append),
            _ => None,
        });
        self.count_dropped(waiting.chain(&refused).map(|append| append.events.len()).sum());
    }

    /// Takes back events that the disk refused; they go before all others, after a pause.
    pub(super) fn refuse(&self, appends: Vec<Append>) {
        let mut state = lock(&self.state);
        state.unawaited += appends.iter().map(Append::memory).sum::<usize>();
        for append in appends.into_iter().rev() {
            state.refused.push_front(append);
        }
        state.retry_at = Some(Instant::now() + RETRY);
        let lost = state.drop_oldest(self.limit);
        drop(state);
        self.count_dropped(lost);
    }

    /// Waits for the next work, at most until `deadline`. Marks what was taken before as done.
    pub(super) fn next(&self, deadline: Option<Instant>) -> Work {
        let mut state = lock(&self.state);
        state.working = false;
        loop {
            let now = Instant::now();
            let collected = state.unawaited >= COLLECT_BYTES
                || state.since.is_some_and(|since| now.duration_since(since) >= COLLECT);
            let rested = state.retry_at.is_none_or(|at| now >= at);
            let ready = state.awaited > 0
                || state.closed
                || (rested && ((collected && !state.items.is_empty()) || !state.refused.is_empty()));
            if ready {
                if state.items.is_empty() && state.closed && (state.refused.is_empty() || state.last_try) {
                    let lost = state.refused.drain(..).map(|append| append.events.len()).sum();
                    drop(state);
                    self.count_dropped(lost);
                    return Work::End;
                }
                state.working = true;
                // At the end, what the disk refused is tried once more.
                state.last_try = state.closed && state.items.is_empty();
                return state.take();
            }
            if deadline.is_some_and(|deadline| now >= deadline) {
                return Work::Idle;
            }
            let collect = state.since.filter(|_| !state.items.is_empty()).map(|since| since + COLLECT);
            let collect = collect.map(|at| state.retry_at.map_or(at, |retry| at.max(retry)));
            let retry = state.retry_at.filter(|_| !state.refused.is_empty());
            let until = [deadline, collect, retry].into_iter().flatten().min();
            state = match until {
                Some(at) => {
                    let wait = at.saturating_duration_since(now);
                    self.wake.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

impl State {
    /// Takes the longest run of items of one sort from the front.
    fn take(&mut self) -> Work {
        let work = self.take_run();
        // What is left over is due at once: it has waited as long.
        if self.items.is_empty() {
            self.since = None;
        }
        work
    }

    fn take_run(&mut self) -> Work {
        match self.items.pop_front() {
            None => Work::Append(self.take_refused()),
            Some(Item::Append(first)) => {
                let mut appends = self.take_refused();
                self.taken(&first);
                let mut bytes = first.memory();
                appends.push(first);
                while let Some(Item::Append(next)) = self.items.front()
                    && appends.len() < MAX_BATCH
                    && bytes + next.memory() <= MAX_BATCH_BYTES
                {
                    bytes += next.memory();
                    if let Some(Item::Append(next)) = self.items.pop_front() {
                        self.taken(&next);
                        appends.push(next);
                    }
                }
                Work::Append(appends)
            }
            Some(Item::Change(change, answer)) => {
                let mut changes = vec![(change, answer)];
                while changes.len() < MAX_BATCH
                    && matches!(self.items.front(), Some(Item::Change(..)))
                    && let Some(Item::Change(change, answer)) = self.items.pop_front()
                {
                    changes.push((change, answer));
                }
                self.awaited -= changes.len();
                Work::Changes(changes)
            }
            Some(Item::Flush { mut sums, answer }) => {
                let mut answers = vec![answer];
                while matches!(self.items.front(), Some(Item::Flush { .. }))
                    && let Some(Item::Flush { sums: more, answer }) = self.items.pop_front()
                {
                    sums |= more;
                    answers.push(answer);
                }
                self.awaited -= answers.len();
                Work::Flush { retry: self.take_refused(), sums, answers }
            }
            Some(Item::Hold(answer)) => {
                self.awaited -= 1;
                Work::Hold(answer)
            }
            Some(Item::Expire(answer)) => {
                self.awaited -= 1;
                Work::Expire(answer)
            }
        }
    }

    fn take_refused(&mut self) -> Vec<Append> {
        self.retry_at = None;
        let refused: Vec<_> = self.refused.drain(..).collect();
        self.unawaited -= refused.iter().map(Append::memory).sum::<usize>();
        refused
    }

    fn taken(&mut self, append: &Append) {
        if append.answer.is_some() {
            self.awaited -= 1;
        } else {
            self.unawaited -= append.memory();
        }
    }

    /// Drops the oldest events that nobody waits for until the rest is within `limit`; answers how many.
    fn drop_oldest(&mut self, limit: usize) -> usize {
        let mut lost = 0;
        while self.unawaited > limit {
            let excess = self.unawaited - limit;
            if let Some(oldest) = self.refused.front_mut() {
                lost += trim(oldest, excess, &mut self.unawaited);
                if oldest.events.is_empty() {
                    self.refused.pop_front();
                }
                continue;
            }
            let unawaited = |item: &Item| matches!(item, Item::Append(append) if append.answer.is_none());
            let Some(at) = self.items.iter().position(unawaited) else { break };
            if let Some(Item::Append(oldest)) = self.items.get_mut(at) {
                lost += trim(oldest, excess, &mut self.unawaited);
                if oldest.events.is_empty() {
                    self.items.remove(at);
                }
            }
        }
        lost
    }
}

/// Drops the first events of an item until `excess` bytes are free, and counts the item out of `waiting` if none
/// is left; answers how many were dropped.
fn trim(append: &mut Append, excess: usize, waiting: &mut usize) -> usize {
    let mut freed = 0;
    let mut count = 0;
    for event in &append.events {
        if freed >= excess {
            break;
        }
        freed += event.message.len() + EVENT_MEMORY;
        count += 1;
    }
    append.events.drain(..count);
    *waiting -= freed;
    if append.events.is_empty() {
        *waiting -= append.memory();
    }
    count
}

#[cfg(test)]
mod tests;
