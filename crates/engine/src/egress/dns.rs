//! DNS messages, as far as a forwarder must understand them (RFC 1035).

use std::net::Ipv4Addr;

/// Shortest message: the header.
const HEADER: usize = 12;

pub(crate) const TYPE_A: u16 = 1;
const TYPE_OPT: u16 = 41;
const CLASS_IN: u16 = 1;

/// Response codes.
pub(crate) const NO_ERROR: u8 = 0;
pub(crate) const SERVER_FAILURE: u8 = 2;
pub(crate) const NO_SUCH_NAME: u8 = 3;
pub(crate) const NOT_IMPLEMENTED: u8 = 4;
pub(crate) const REFUSED: u8 = 5;

/// Most addresses that are taken from one response.
const MAX_ADDRESSES: usize = 64;

/// The question of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    /// In lower case, without the dot at the end.
    pub(crate) name: String,
    /// Record type.
    pub(crate) kind: u16,
    /// Where the question ends in the message.
    end: usize,
}

fn number(message: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*message.get(at..)?.first_chunk()?))
}

/// Identifier of a message.
pub(crate) fn id(message: &[u8]) -> Option<u16> {
    number(message, 0)
}

/// Gives a message another identifier.
pub(crate) fn set_id(message: &mut [u8], id: u16) {
    if let Some(place) = message.get_mut(..2) {
        place.copy_from_slice(&id.to_be_bytes());
    }
}

/// Response code of a message.
pub(crate) fn response_code(message: &[u8]) -> Option<u8> {
    Some(message.get(3)? & 15)
}

fn is_response(message: &[u8]) -> bool {
    message.get(2).is_some_and(|flags| flags & 0x80 != 0)
}

/// The question of a standard query with one question; `None` for anything else.
pub(crate) fn question(message: &[u8]) -> Option<Question> {
    let opcode = (message.get(2)? >> 3) & 15;
    if is_response(message) || opcode != 0 {
        return None;
    }
    parse_question(message)
}

fn parse_question(message: &[u8]) -> Option<Question> {
    if number(message, 4)? != 1 {
        return None;
    }
    let mut name = String::new();
    let mut at = HEADER;
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        // Names of questions are not compressed: there is nothing before them.
        if length > 63 {
            return None;
        }
        if !name.is_empty() {
            name.push('.');
        }
        // Bytes that belong in no host name make a name that is on no list.
        name.extend(message.get(at..at + length)?.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
        at += length;
        if name.len() > 253 {
            return None;
        }
    }
    let (kind, class) = (number(message, at)?, number(message, at + 2)?);
    (class == CLASS_IN).then_some(Question { name, kind, end: at + 4 })
}

/// Whether a message is the response to a query: the same identifier and question.
pub(crate) fn answers(response: &[u8], query: &[u8]) -> bool {
    let asked = parse_question(query);
    is_response(response)
        && id(response) == id(query)
        && asked.is_some()
        && parse_question(response).map(|found| (found.name, found.kind))
            == asked.map(|asked| (asked.name, asked.kind))
}

/// A response without records.
pub(crate) fn empty_response(query: &[u8], question: &Question, code: u8) -> Vec<u8> {
    let mut response = query.get(..question.end).unwrap_or_default().to_vec();
    if let Some([_, _, flags, more, counts @ ..]) = response.get_mut(..HEADER) {
        // A response; opcode and "recursion desired" as asked.
        *flags = (*flags & 0x79) | 0x80;
        // Recursion is available.
        *more = 0x80 | code;
        counts.copy_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
    }
    response
}

/// Skips a name, compressed or not.
fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length if length & 0xc0 == 0xc0 => return Some(at + 2),
            length if length & 0xc0 != 0 => return None,
            length => at += usize::from(length) + 1,
        }
    }
}

/// The IPv4 addresses in a response's answers, with the shortest time to live in seconds; of a chain of aliases those at its
/// end.
pub(crate) fn addresses(response: &[u8]) -> (Vec<Ipv4Addr>, u32) {
    let mut found = Vec::new();
    let mut shortest = u32::MAX;
    let mut walk = || -> Option<()> {
        let question = parse_question(response)?;
        let mut at = question.end;
        for _ in 0..number(response, 6)? {
            at = skip_name(response, at)?;
            let (kind, class, length) =
                (number(response, at)?, number(response, at + 2)?, number(response, at + 8)?);
            let time = u32::from_be_bytes(*response.get(at + 4..)?.first_chunk()?);
            at += 10;
            let data = response.get(at..at + usize::from(length))?;
            at += usize::from(length);
            if class == CLASS_IN && kind != TYPE_OPT {
                shortest = shortest.min(time);
            }
            if let (TYPE_A, CLASS_IN, Some(bytes), true) =
                (kind, class, data.first_chunk::<4>(), data.len() == 4 && found.len() < MAX_ADDRESSES)
            {
                found.push(Ipv4Addr::from(*bytes));
            }
        }
        Some(())
    };
    // What came before garbage still counts: the asker may use it.
    let _ = walk();
    (found, shortest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(name: &str, kind: u16) -> Vec<u8> {
        let mut message = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            message.push(label.len() as u8);
            message.extend_from_slice(label.as_bytes());
        }
        message.push(0);
        message.extend_from_slice(&kind.to_be_bytes());
        message.extend_from_slice(&[0, 1]);
        message
    }

    fn record(message: &mut Vec<u8>, kind: u16, time: u32, data: &[u8]) {
        message.extend_from_slice(&[0xc0, 12]);
        message.extend_from_slice(&kind.to_be_bytes());
        message.extend_from_slice(&[0, 1]);
        message.extend_from_slice(&time.to_be_bytes());
        message.extend_from_slice(&(data.len() as u16).to_be_bytes());
        message.extend_from_slice(data);
        message[7] += 1;
    }

    #[test]
    fn questions() {
        let message = query("Db.Example.COM", TYPE_A);
        let question = question(&message).unwrap();
        assert_eq!(
            (question.name.as_str(), question.kind, question.end),
            ("db.example.com", 1, message.len())
        );
        let refused = empty_response(&message, &question, NO_SUCH_NAME);
        assert!(answers(&refused, &message));
        assert_eq!((response_code(&refused), refused.len()), (Some(NO_SUCH_NAME), message.len()));
        assert!(!answers(&refused, &query("db.example.org", TYPE_A)) && !answers(&message, &message));
        assert!(!answers(&refused, &query("db.example.com", 28)));
    }

    #[test]
    fn what_is_no_query_is_not_understood() {
        let good = query("a.b", TYPE_A);
        for cut in 0..good.len() {
            assert_eq!(question(&good[..cut]), None, "{cut}");
        }
        let changed = |at: usize, to: u8| {
            let mut message = good.clone();
            message[at] = to;
            message
        };
        for (at, to) in [(2, 0x81), (2, 0x29), (5, 2), (12, 0xc0), (12, 60), (good.len() - 1, 3)] {
            assert_eq!(question(&changed(at, to)), None, "{at}");
        }
    }

    #[test]
    fn addresses_of_answers() {
        let mut response = query("a.b", TYPE_A);
        response[2] |= 0x80;
        record(&mut response, 5, 30, &[1, b'c', 0]);
        record(&mut response, TYPE_A, 300, &[203, 0, 113, 7]);
        record(&mut response, 28, 300, &[0; 16]);
        record(&mut response, TYPE_A, 300, &[203, 0, 113, 8]);
        let expected = [7, 8].map(|last| Ipv4Addr::new(203, 0, 113, last)).to_vec();
        assert_eq!(addresses(&response), (expected.clone(), 30));
        for cut in 0..response.len() {
            let (some, _) = addresses(&response[..cut]);
            assert!(expected.starts_with(&some));
        }
        response[7] = 255;
        assert_eq!(addresses(&response).0, expected);
    }
}
