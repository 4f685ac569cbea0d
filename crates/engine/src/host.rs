//! Room on the host: how many environments there may be and how much memory they count with.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The host's room, given out in [`Charge`]s. `Q` is what queues for it. No other lock is taken while its
/// own is held.
#[derive(Debug)]
pub(crate) struct Host<Q> {
    memory_limit: u64,
    environment_limit: usize,
    state: Mutex<State<Q>>,
    /// Length of the queue, to be read without the lock.
    queued: AtomicUsize,
}

#[derive(Debug)]
struct State<Q> {
    memory: u64,
    environments: usize,
    queue: VecDeque<Arc<Q>>,
}

impl<Q> Host<Q> {
    pub(crate) fn new(memory_limit: u64, environment_limit: usize) -> Self {
        let state = State { memory: 0, environments: 0, queue: VecDeque::new() };
        Self { memory_limit, environment_limit, state: Mutex::new(state), queued: AtomicUsize::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, State<Q>> {
        // Nothing panics while the lock is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn memory_limit(&self) -> u64 {
        self.memory_limit
    }

    /// Memory charged and environments, now.
    pub(crate) fn used(&self) -> (u64, usize) {
        let state = self.lock();
        (state.memory, state.environments)
    }

    /// Room for one more environment. A lone one is let in whatever its size.
    pub(crate) fn charge(self: &Arc<Self>, bytes: u64) -> Option<Charge<Q>> {
        let mut state = self.lock();
        let fits = state.environments < self.environment_limit
            && state.memory.saturating_add(bytes) <= self.memory_limit;
        if !fits && state.environments > 0 {
            return None;
        }
        state.memory = state.memory.saturating_add(bytes);
        state.environments += 1;
        drop(state);
        Some(Charge { host: Arc::clone(self), bytes })
    }

    /// Queues for room; whoever is queued already keeps its place.
    pub(crate) fn enqueue(&self, who: &Arc<Q>) {
        let mut state = self.lock();
        if !state.queue.iter().any(|queued| Arc::ptr_eq(queued, who)) {
            state.queue.push_back(Arc::clone(who));
        }
        self.queued.store(state.queue.len(), Ordering::SeqCst);
    }

    /// Puts one back to the head of the queue.
    pub(crate) fn requeue(&self, who: Arc<Q>) {
        let mut state = self.lock();
        if !state.queue.iter().any(|queued| Arc::ptr_eq(queued, &who)) {
            state.queue.push_front(who);
        }
        self.queued.store(state.queue.len(), Ordering::SeqCst);
    }

    /// How many queue for room.
    pub(crate) fn queued(&self) -> usize {
        self.queued.load(Ordering::SeqCst)
    }

    /// Who queues for room, the first one first.
    pub(crate) fn queue(&self) -> Vec<Arc<Q>> {
        if self.queued() == 0 { Vec::new() } else { self.lock().queue.iter().cloned().collect() }
    }

    /// Takes one out of the queue; `false` if it is not there.
    pub(crate) fn dequeue(&self, who: &Arc<Q>) -> bool {
        let mut state = self.lock();
        let place = state.queue.iter().position(|queued| Arc::ptr_eq(queued, who));
        let found = place.and_then(|place| state.queue.remove(place)).is_some();
        self.queued.store(state.queue.len(), Ordering::SeqCst);
        found
    }
}

/// Room that one environment takes. Dropping it gives the room back.
#[derive(Debug)]
pub(crate) struct Charge<Q> {
    host: Arc<Host<Q>>,
    bytes: u64,
}

impl<Q> Charge<Q> {
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Changes the memory charged. Giving back always succeeds; more is granted only if it fits, or to a
    /// lone environment.
    pub(crate) fn resize(&mut self, bytes: u64) -> bool {
        let mut state = self.host.lock();
        let others = state.memory.saturating_sub(self.bytes);
        let total = others.saturating_add(bytes);
        if bytes > self.bytes && total > self.host.memory_limit && state.environments > 1 {
            return false;
        }
        state.memory = total;
        self.bytes = bytes;
        true
    }
}

impl<Q> Drop for Charge<Q> {
    fn drop(&mut self) {
        let mut state = self.host.lock();
        state.memory = state.memory.saturating_sub(self.bytes);
        state.environments = state.environments.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_given_out_and_back() {
        let host: Arc<Host<()>> = Arc::new(Host::new(100, 3));
        let mut first = host.charge(60).unwrap();
        assert!(host.charge(41).is_none());
        let second = host.charge(40).unwrap();
        assert!(first.resize(10) && first.resize(60) && !first.resize(61));
        assert_eq!((first.bytes(), host.used()), (60, (100, 2)));
        assert!(first.resize(5));
        let third = host.charge(55).unwrap();
        assert!(host.charge(0).is_none(), "more environments than allowed");
        drop((second, third));
        assert_eq!(host.used(), (5, 1));
    }

    #[test]
    fn a_lone_environment_may_be_larger_than_the_host() {
        let host: Arc<Host<()>> = Arc::new(Host::new(100, 3));
        let mut lone = host.charge(1_000).unwrap();
        assert!(host.charge(1).is_none());
        assert!(lone.resize(2_000) && lone.resize(1));
        let other = host.charge(1).unwrap();
        assert!(!lone.resize(1_000));
        drop(other);
        assert!(lone.resize(1_000));
    }

    #[test]
    fn the_queue_keeps_its_order() {
        let host = Host::new(0, 0);
        let [one, two] = [Arc::new(1), Arc::new(2)];
        host.enqueue(&one);
        host.enqueue(&two);
        host.enqueue(&one);
        assert_eq!((host.queued(), host.queue()), (2, vec![Arc::new(1), Arc::new(2)]));
        assert!(host.dequeue(&one) && !host.dequeue(&one));
        host.requeue(one);
        assert_eq!(host.queue(), [Arc::new(1), Arc::new(2)]);
        assert!(host.dequeue(&two));
        assert_eq!((host.queued(), host.queue()), (1, vec![Arc::new(1)]));
    }
}
