//! Opaque paging tokens: what a page ended with, in a form that nobody is tempted to read or build.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Version of the form, so that tokens of another one are refused and not misread.
const FORM: &str = "1:";

/// A token from which [`from_token`] gets `place` back.
pub(crate) fn to_token(place: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{FORM}{place}"))
}

/// The place in a token; `None` where it is not one of ours.
pub(crate) fn from_token(token: &str) -> Option<String> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
    text.strip_prefix(FORM).map(ToOwned::to_owned)
}

/// Cuts a list that was read one longer than a page and answers the token for the next page, if there is
/// one; `place` names an item.
pub(crate) fn cut<T>(items: &mut Vec<T>, page: usize, place: impl Fn(&T) -> &str) -> Option<String> {
    if items.len() <= page {
        return None;
    }
    items.truncate(page);
    items.last().map(|item| to_token(place(item)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_give_the_place_back() {
        for place in ["", "a", "ä/б:1"] {
            assert_eq!(from_token(&to_token(place)).as_deref(), Some(place));
        }
        for token in ["", "!", "aGVsbG8", "MTo="] {
            assert_eq!(from_token(token), None, "{token}");
        }
    }

    #[test]
    fn the_last_page_has_no_token() {
        let mut items = vec!["a", "b", "c"];
        assert_eq!(cut(&mut items, 2, |item| item).as_deref().and_then(from_token).as_deref(), Some("b"));
        assert_eq!(items, ["a", "b"]);
        assert_eq!(cut(&mut items, 2, |item| item), None);
    }
}
