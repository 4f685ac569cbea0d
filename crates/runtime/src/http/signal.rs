//! Wake-ups of a session's connections, kept from becoming changes of task.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

/// What connections wake. While the session polls them, a wake-up only means: poll again. A connection
/// wakes itself for each body that it reads; passed on to the task, that would send it to the back of its
/// queue and rouse another thread to take it.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    polling: AtomicBool,
    woken: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl Signal {
    /// Polling begins, in the task of this waker.
    pub(crate) fn begin(&self, task: &Waker) {
        self.polling.store(true, Ordering::SeqCst);
        let mut slot = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *slot {
            Some(known) => known.clone_from(task),
            None => *slot = Some(task.clone()),
        }
    }

    /// Nobody waits; what wakes from now on is seen when polling begins.
    pub(crate) fn forget_task(&self) {
        *self.task.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether there was a wake-up since the last look.
    pub(crate) fn take(&self) -> bool {
        self.woken.swap(false, Ordering::SeqCst)
    }

    /// Polling ends, and later wake-ups reach the task; unless there has been one, which calls for going on.
    pub(crate) fn end(&self) -> bool {
        self.polling.store(false, Ordering::SeqCst);
        !self.woken.load(Ordering::SeqCst)
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // One of the two sees the other: this the end of polling, or `end` this wake-up.
        self.woken.store(true, Ordering::SeqCst);
        if !self.polling.load(Ordering::SeqCst) {
            let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(task) = task {
                task.wake();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn wake_ups_while_polling_do_not_reach_the_task() {
        let (count, signal) = (Arc::new(Count::default()), Arc::new(Signal::default()));
        let wakes = || count.0.load(Ordering::SeqCst);
        let waker = Waker::from(Arc::clone(&signal));
        waker.wake_by_ref();
        signal.begin(&Waker::from(Arc::clone(&count)));
        assert!(signal.take() && !signal.take());
        waker.wake_by_ref();
        assert!(!signal.end(), "a wake-up was lost");
        assert_eq!(wakes(), 0);
        assert!(signal.take() && signal.end());
        waker.wake_by_ref();
        assert_eq!(wakes(), 1);
        signal.forget_task();
        waker.wake_by_ref();
        assert_eq!(wakes(), 1);
    }
}
