//! A future that ends even if nobody waits for it any more.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Runs in its owner's task, without the cost of one of its own. Dropped before its end, it goes on in a
/// task; dropped before it began, it is gone.
pub(crate) struct Detached<T: Send + 'static> {
    work: Option<Work<T>>,
    begun: bool,
    handle: Handle,
}

impl<T: Send + 'static> Detached<T> {
    pub(crate) fn new(handle: Handle, work: impl Future<Output = T> + Send + 'static) -> Self {
        Self { work: Some(Box::pin(work)), begun: false, handle }
    }
}

impl<T: Send + 'static> Future for Detached<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        self.begun = true;
        let Some(work) = &mut self.work else { return Poll::Pending };
        let polled = work.as_mut().poll(cx);
        if polled.is_ready() {
            self.work = None;
        }
        polled
    }
}

impl<T: Send + 'static> Drop for Detached<T> {
    fn drop(&mut self) {
        if let Some(work) = self.work.take()
            && self.begun
        {
            self.handle.spawn(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn goes_on_without_its_owner_once_begun() {
        let gate = Arc::new(Notify::new());
        let done = Arc::new(Notify::new());
        let count = Arc::new(AtomicUsize::new(0));
        let work = || {
            let (gate, done, count) = (Arc::clone(&gate), Arc::clone(&done), Arc::clone(&count));
            Detached::new(Handle::current(), async move {
                gate.notified().await;
                count.fetch_add(1, Ordering::SeqCst);
                done.notify_one();
            })
        };
        drop(work());
        let mut begun = work();
        tokio::select! {
            biased;
            () = &mut begun => panic!("ended early"),
            () = tokio::task::yield_now() => {}
        }
        drop(begun);
        gate.notify_one();
        done.notified().await;
        assert_eq!(count.load(Ordering::SeqCst), 1);

        gate.notify_one();
        work().await;
        assert_eq!(count.load(Ordering::SeqCst), 2);
    }
}
