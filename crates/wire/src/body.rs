//! Reads request bodies within a limit.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::Body;
use http_body_util::BodyExt as _;

/// Longest silence between two pieces of a body.
const IDLE: Duration = Duration::from_secs(30);
/// Longest time for a whole body; enough for the largest package over a slow line.
const WHOLE: Duration = Duration::from_secs(900);
/// Longest silence, and longest time in all, that a refused body is still read.
const DRAIN_IDLE: Duration = Duration::from_secs(2);
const DRAIN: Duration = Duration::from_secs(60);

/// Why a body was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReadError {
    /// It is, or says it is, longer than the limit.
    #[error("body too large")]
    TooLarge,
    /// The connection broke or the framing is bad.
    #[error("body broke off")]
    Broken,
    /// The client stopped sending.
    #[error("body timed out")]
    Timeout,
}

/// Length that the headers give.
pub(crate) fn declared(headers: &HeaderMap) -> Option<usize> {
    headers.get(http::header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads a body of at most `limit` bytes. A body that arrives in one piece is not copied.
pub(crate) async fn read<B>(body: &mut B, headers: &HeaderMap, limit: usize) -> Result<Bytes, ReadError>
where
    B: Body<Data = Bytes> + Unpin,
{
    let declared = declared(headers);
    if declared.is_some_and(|length| length > limit) {
        return Err(ReadError::TooLarge);
    }
    let Some(first) = piece(body, IDLE).await? else { return Ok(Bytes::new()) };
    if first.len() > limit {
        return Err(ReadError::TooLarge);
    }
    let Some(second) = piece(body, IDLE).await? else { return Ok(first) };
    let mut whole = BytesMut::with_capacity(declared.unwrap_or(first.len() + second.len()));
    whole.extend_from_slice(&first);
    drop(first);
    let mut next = Some(second);
    let rest = async {
        while let Some(data) = next {
            if whole.len() + data.len() > limit {
                return Err(ReadError::TooLarge);
            }
            whole.extend_from_slice(&data);
            next = piece(body, IDLE).await?;
        }
        Ok(())
    };
    tokio::time::timeout(WHOLE, rest).await.map_err(|_| ReadError::Timeout)??;
    Ok(whole.freeze())
}

/// Reads and drops up to `limit` bytes of a body that is refused, on a task of its own, so that the answer
/// does not wait for it and a client that writes before it reads gets to the answer.
pub(crate) fn drain<B>(mut body: B, headers: &HeaderMap, limit: usize)
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Send,
{
    // Who waits for leave to send, or sends more than is bearable, is not listened to.
    if body.is_end_stream()
        || headers.contains_key(http::header::EXPECT)
        || declared(headers).is_some_and(|length| length > limit)
    {
        return;
    }
    tokio::spawn(tokio::time::timeout(DRAIN, async move {
        let mut left = limit;
        while let Ok(Some(data)) = piece(&mut body, DRAIN_IDLE).await {
            match left.checked_sub(data.len()) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    }));
}

/// The next piece with bytes in it.
async fn piece<B>(body: &mut B, idle: Duration) -> Result<Option<Bytes>, ReadError>
where
    B: Body<Data = Bytes> + Unpin,
{
    loop {
        if body.is_end_stream() {
            return Ok(None);
        }
        let frame = tokio::time::timeout(idle, body.frame()).await.map_err(|_| ReadError::Timeout)?;
        match frame {
            None => return Ok(None),
            Some(Err(_)) => return Err(ReadError::Broken),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data()
                    && !data.is_empty()
                {
                    return Ok(Some(data));
                }
            }
        }
    }
}
