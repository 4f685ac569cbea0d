//! What the peers of one listener may make the server hold, where many listeners share it.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::body;
use crate::front::INTERNAL_PREFIX;
use crate::reply::ResponseBody;

/// What a request counts with at least: its head, its answer, the tasks that deal with it.
const LEAST: u32 = 64 << 10;
/// What a request counts with whose length is not declared.
const UNDECLARED: u32 = 8 << 20;

/// A listener's share of the server.
#[derive(Debug)]
pub struct Share {
    own_places: usize,
    places: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    most_bytes: u32,
}

impl Share {
    /// A share with `own_places` connections that it always has; each further one takes one of `places`,
    /// which listeners have in common, and is refused if there is none. The requests in work hold at most
    /// `bytes` at once, counted by their bodies; further requests wait. A request whose body is longer
    /// than that, and a download, waits until it is alone.
    #[must_use]
    pub fn new(own_places: usize, places: Arc<Semaphore>, bytes: u32) -> Self {
        let most_bytes = bytes.max(LEAST);
        let bytes = Arc::new(Semaphore::new(usize::try_from(most_bytes).unwrap_or(Semaphore::MAX_PERMITS)));
        Self { own_places, places, bytes, most_bytes }
    }

    /// A place for one more connection beside `open` others; `None` if it is to be refused.
    pub(crate) fn place(&self, open: usize) -> Option<Place> {
        if open < self.own_places {
            return Some(Place { _common: None });
        }
        let common = Arc::clone(&self.places).try_acquire_owned().ok()?;
        Some(Place { _common: Some(common) })
    }

    /// Waits until there is room for a request. `None` never happens: the room is never closed.
    pub(crate) async fn room<B: Body>(&self, request: &Request<B>) -> Option<OwnedSemaphorePermit> {
        let bytes = if request.uri().path().starts_with(INTERNAL_PREFIX) {
            self.most_bytes
        } else {
            match body::declared(request.headers()) {
                Some(length) => u32::try_from(length).unwrap_or(u32::MAX),
                None if request.body().is_end_stream() => 0,
                None => UNDECLARED,
            }
        };
        let bytes = bytes.clamp(LEAST, self.most_bytes);
        Arc::clone(&self.bytes).acquire_many_owned(bytes).await.ok()
    }
}

/// A connection's place.
#[derive(Debug)]
pub(crate) struct Place {
    _common: Option<OwnedSemaphorePermit>,
}

/// Bytes that take room until they are let go.
struct Held {
    bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Keeps a request's room taken until its answer is written.
pub(crate) fn keep(response: Response<ResponseBody>, room: OwnedSemaphorePermit) -> Response<ResponseBody> {
    response.map(|mut body| {
        let Some(whole) = body.whole() else { return body.hold(room) };
        // A full body gives its one piece at once.
        let polled = pin!(whole).poll_frame(&mut Context::from_waker(Waker::noop()));
        let piece = match polled {
            Poll::Ready(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
            _ => Bytes::new(),
        };
        match piece.is_empty() {
            true => Full::new(piece).into(),
            false => Full::new(Bytes::from_owner(Held { bytes: piece, _room: room })).into(),
        }
    })
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Empty};

    use super::*;

    fn request(path: &str, length: &str) -> Request<Empty<Bytes>> {
        Request::builder().uri(path).header("content-length", length).body(Empty::new()).unwrap()
    }

    fn free(share: &Share) -> u32 {
        u32::try_from(share.bytes.available_permits()).unwrap()
    }

    #[test]
    fn places_beyond_the_own_are_common() {
        let common = Arc::new(Semaphore::new(1));
        let [one, two] = [Share::new(2, Arc::clone(&common), 0), Share::new(2, common, 0)];
        assert!(one.place(0).is_some() && one.place(1).is_some());
        let third = one.place(2).unwrap();
        assert!(one.place(3).is_none() && two.place(2).is_none() && two.place(1).is_some());
        drop(third);
        assert!(two.place(2).is_some());
    }

    #[tokio::test]
    async fn requests_take_room_by_their_length() {
        let whole = 10 << 20;
        let share = Share::new(0, Arc::new(Semaphore::new(0)), whole);
        let small = share.room(&request("/", "5")).await.unwrap();
        assert_eq!(free(&share), whole - LEAST);
        let large = share.room(&request("/", "1000000")).await.unwrap();
        assert_eq!(free(&share), whole - LEAST - 1_000_000);
        let request_for_code = request("/_lambkin/code/x", "0");
        let mut download = pin!(share.room(&request_for_code));
        assert!(download.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        drop((small, large));
        assert!(download.await.is_some());
        let endless = share.room(&request("/", "99999999999")).await.unwrap();
        assert_eq!(free(&share), 0);
        drop(endless);
        assert_eq!(free(&share), whole);
    }

    #[tokio::test]
    async fn room_is_taken_until_the_answer_is_gone() {
        let share = Share::new(0, Arc::new(Semaphore::new(0)), LEAST);
        let room = share.room(&request("/", "0")).await.unwrap();
        let answer = keep(Response::new(Full::new(Bytes::from_static(b"answer")).into()), room);
        assert_eq!(free(&share), 0);
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!((&body[..], free(&share)), (&b"answer"[..], 0));
        drop(body);
        assert_eq!(free(&share), LEAST);
        let room = share.room(&request("/", "0")).await.unwrap();
        let _nothing = keep(Response::new(Full::default().into()), room);
        assert_eq!(free(&share), LEAST);
    }
}
