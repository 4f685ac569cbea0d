//! Paging: `Marker`, `MaxItems`, `IsTruncated`.

use lambkin_model::AwsError;

use super::faults;
use crate::paging;

/// Items in one answer unless the request says otherwise.
const PAGE: usize = 100;

/// One page.
#[derive(Debug)]
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    /// Where the next page goes on, if there is one.
    pub(super) marker: Option<String>,
}

impl<T> Page<T> {
    pub(super) fn is_truncated(&self) -> Option<bool> {
        Some(self.marker.is_some())
    }
}

/// The page of `items`, which are in the order of `place`, that a request asks for.
///
/// # Errors
/// `ValidationError` for a marker that was not given out here.
pub(super) fn cut<T>(
    mut items: Vec<T>,
    marker: Option<&str>,
    max_items: Option<i32>,
    place: impl Fn(&T) -> &str,
) -> Result<Page<T>, AwsError> {
    if let Some(marker) = marker {
        let after = paging::from_token(marker).ok_or_else(|| faults::validation("Invalid Marker."))?;
        items.retain(|item| place(item) > after.as_str());
    }
    let page = max_items.and_then(|max| usize::try_from(max).ok()).unwrap_or(PAGE);
    let marker = paging::cut(&mut items, page, place);
    Ok(Page { items, marker })
}
