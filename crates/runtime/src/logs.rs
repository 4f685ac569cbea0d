//! From bytes that a function writes to log events.

use bytes::Bytes;
use lambkin_core::logs::{LogEvent, MAX_EVENT_BYTES};

/// Size of the log tail that an invoke may ask for.
pub const TAIL_BYTES: usize = 4096;

/// Most bytes of events that a [`LogBuffer`] with an outlet keeps.
pub const MOST_HELD: usize = 1024 * 1024;

/// What an event counts with beside its text.
const EVENT_BYTES: usize = 64;

/// Collects the log events of an environment between two hand-overs to the log store, and the tail of the
/// log if it is wanted.
///
/// Plain output is split after each line feed, which stays in the event; a carriage return is ordinary
/// text. A line without an end is held until the rest comes or [`LogBuffer::flush`]. Records stay whole
/// whatever is in them. Nothing is longer than [`MAX_EVENT_BYTES`]: what is, is split. Bytes that are not
/// UTF-8 are replaced. Times are milliseconds since the epoch.
#[derive(Debug, Default)]
pub struct LogBuffer {
    /// Held part of a line on the output pipe.
    pipe: Vec<u8>,
    /// Held part of a line in telemetry.
    lines: Vec<u8>,
    /// Held part of a record.
    record: Vec<u8>,
    events: Vec<LogEvent>,
    /// Bytes of `events`.
    held: usize,
    outlet: Option<Outlet>,
    tail: Option<Vec<u8>>,
}

/// Takes events that are too many to be kept.
struct Outlet(Box<dyn Fn(Vec<LogEvent>) + Send + Sync>);

impl std::fmt::Debug for Outlet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Outlet")
    }
}

impl LogBuffer {
    /// A buffer that gives its events to `outlet` once there are [`MOST_HELD`] bytes of them.
    pub fn with_outlet(outlet: impl Fn(Vec<LogEvent>) + Send + Sync + 'static) -> Self {
        Self { outlet: Some(Outlet(Box::new(outlet))), ..Self::default() }
    }

    /// Starts keeping the last [`TAIL_BYTES`], or stops it.
    pub fn keep_tail(&mut self, wanted: bool) {
        self.tail = wanted.then(Vec::new);
    }

    /// Whether the tail is being kept.
    #[must_use]
    pub fn keeps_tail(&self) -> bool {
        self.tail.is_some()
    }

    /// Bytes from the output pipe (file descriptors 1 and 2).
    pub fn output(&mut self, bytes: &[u8], now_ms: i64) {
        let mut held = std::mem::take(&mut self.pipe);
        self.split(&mut held, bytes, now_ms);
        self.pipe = held;
    }

    /// A datagram from the telemetry socket: its kind and text. Unknown kinds count as output.
    pub fn datagram(&mut self, datagram: &[u8], now_ms: i64) {
        let Some((kind, text)) = datagram.split_first() else { return };
        match kind {
            b'r' | b'R' => {
                self.record.extend_from_slice(text);
                while let Some(first) = self.record.get(..MAX_EVENT_BYTES)
                    && self.record.len() > MAX_EVENT_BYTES
                {
                    let rest = self.record.split_off(whole_characters(first));
                    self.end_record(now_ms);
                    self.record = rest;
                }
                if *kind == b'r' {
                    self.end_record(now_ms);
                }
            }
            _ => {
                let mut held = std::mem::take(&mut self.lines);
                self.split(&mut held, text, now_ms);
                self.lines = held;
            }
        }
    }

    /// A line of the platform.
    pub fn platform(&mut self, line: String, now_ms: i64) {
        self.push(line, now_ms);
    }

    /// Takes back the newest event that is exactly `line`.
    pub fn withdraw(&mut self, line: &str) {
        if let Some(place) = self.events.iter().rposition(|event| event.message == line) {
            let event = self.events.remove(place);
            self.held = self.held.saturating_sub(event.message.len() + EVENT_BYTES);
        }
    }

    /// Ends lines and records that are held.
    pub fn flush(&mut self, now_ms: i64) {
        for held in [&mut self.pipe, &mut self.lines, &mut self.record].map(std::mem::take) {
            if !held.is_empty() {
                self.emit(&held, now_ms);
            }
        }
    }

    /// Takes the events collected so far, in order.
    pub fn take_events(&mut self) -> Vec<LogEvent> {
        self.held = 0;
        std::mem::take(&mut self.events)
    }

    /// Takes the tail, from a character's first byte on; `None` if none was kept. Keeps no further one.
    pub fn take_tail(&mut self) -> Option<Bytes> {
        let mut tail = self.tail.take()?;
        let mut from = tail.len().saturating_sub(TAIL_BYTES);
        while from > 0 && tail.get(from).is_some_and(|byte| byte & 0xc0 == 0x80) {
            from += 1;
        }
        tail.drain(..from);
        Some(tail.into())
    }

    fn end_record(&mut self, now_ms: i64) {
        let record = std::mem::take(&mut self.record);
        if !record.is_empty() {
            self.emit(&record, now_ms);
        }
    }

    /// Emits the whole lines of `held` and `bytes` together; the rest stays in `held`.
    fn split(&mut self, held: &mut Vec<u8>, bytes: &[u8], now_ms: i64) {
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let ended = line.ends_with(b"\n");
            if ended && held.is_empty() {
                self.emit(line, now_ms);
                continue;
            }
            held.extend_from_slice(line);
            if ended {
                self.emit(held, now_ms);
                held.clear();
            }
            while let Some(first) = held.get(..MAX_EVENT_BYTES) {
                let rest = held.split_off(whole_characters(first));
                self.emit(held, now_ms);
                *held = rest;
            }
        }
    }

    /// Makes events of one line or record.
    fn emit(&mut self, mut bytes: &[u8], now_ms: i64) {
        while bytes.len() > MAX_EVENT_BYTES {
            let (first, rest) = bytes.split_at(MAX_EVENT_BYTES);
            let (first, _) = first.split_at(whole_characters(first));
            self.push_lossy(first, now_ms);
            bytes = bytes.get(first.len()..).unwrap_or(rest);
        }
        self.push_lossy(bytes, now_ms);
    }

    fn push_lossy(&mut self, bytes: &[u8], now_ms: i64) {
        let text = String::from_utf8_lossy(bytes).into_owned();
        if text.len() <= MAX_EVENT_BYTES {
            self.push(text, now_ms);
            return;
        }
        // Replacement characters made it longer.
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let (first, after) = rest.split_at(rest.floor_char_boundary(MAX_EVENT_BYTES));
            self.push(first.to_owned(), now_ms);
            rest = after;
        }
    }

    fn push(&mut self, message: String, now_ms: i64) {
        if let Some(tail) = &mut self.tail {
            if tail.last().is_some_and(|last| *last != b'\n') {
                tail.push(b'\n');
            }
            tail.extend_from_slice(message.as_bytes());
            if tail.len() > 4 * TAIL_BYTES {
                tail.drain(..tail.len() - 2 * TAIL_BYTES);
            }
        }
        self.held += message.len() + EVENT_BYTES;
        self.events.push(LogEvent { timestamp: now_ms, message });
        if self.held > MOST_HELD && self.outlet.is_some() {
            let events = self.take_events();
            if let Some(Outlet(outlet)) = &self.outlet {
                outlet(events);
            }
        }
    }
}

/// Length of `bytes` without a character that is cut off at their end. At least 1.
fn whole_characters(bytes: &[u8]) -> usize {
    // A character has at most 3 continuation bytes.
    let from = bytes.len().saturating_sub(4);
    let Some(lead) = bytes.iter().skip(from).rposition(|byte| byte & 0xc0 != 0x80).map(|at| at + from) else {
        return bytes.len();
    };
    let length = match bytes.get(lead).copied().unwrap_or_default() {
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf7 => 4,
        _ => 1,
    };
    if lead + length > bytes.len() && lead > 0 { lead } else { bytes.len() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(log: &mut LogBuffer) -> Vec<String> {
        log.take_events().into_iter().map(|event| event.message).collect()
    }

    #[test]
    fn output_is_split_into_lines_and_the_rest_is_held() {
        let mut log = LogBuffer::default();
        log.output(b"one\ntwo\r\n\nthr", 1);
        assert_eq!(messages(&mut log), ["one\n", "two\r\n", "\n"]);
        log.output(b"ee\r", 2);
        log.output(b"still three\nfour", 3);
        assert_eq!(log.take_events(), [LogEvent { timestamp: 3, message: "three\rstill three\n".into() }]);
        log.flush(4);
        assert_eq!(log.take_events(), [LogEvent { timestamp: 4, message: "four".into() }]);
        log.flush(5);
        assert!(log.take_events().is_empty());
    }

    #[test]
    fn what_is_too_much_to_keep_goes_out() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let mut log = LogBuffer::with_outlet(move |events| sender.send(events).unwrap());
        log.keep_tail(true);
        let line = format!("{}\n", "x".repeat(999));
        let count = MOST_HELD / 1000 * 3;
        for _ in 0..count {
            log.output(line.as_bytes(), 0);
            assert!(log.held <= MOST_HELD);
        }
        let out: usize = receiver.try_iter().map(|events| events.len()).sum();
        assert!(out > 0);
        assert_eq!(out + log.take_events().len(), count);
        assert_eq!((log.held, log.take_tail().unwrap().len()), (0, TAIL_BYTES));
    }

    #[test]
    fn events_can_be_withdrawn() {
        let mut log = LogBuffer::default();
        for line in ["a\n", "b\n", "a\n", "c\n"] {
            log.platform(line.into(), 0);
        }
        log.withdraw("a\n");
        log.withdraw("d\n");
        assert_eq!(messages(&mut log), ["a\n", "b\n", "c\n"]);
    }

    #[test]
    fn datagrams_are_lines_or_whole_records() {
        let mut log = LogBuffer::default();
        log.datagram(b"oa\nb", 0);
        log.datagram(b"Rone\nrec", 0);
        log.output(b"native\n", 0);
        log.datagram(b"rord\n", 0);
        log.datagram(b"Oc", 0);
        log.datagram(b"od\n", 0);
        log.datagram(b"", 0);
        log.datagram(b"o", 0);
        assert_eq!(messages(&mut log), ["a\n", "native\n", "one\nrecord\n", "bcd\n"]);
    }

    #[test]
    fn bytes_that_are_not_utf8_are_replaced_and_characters_in_pieces_are_joined() {
        let mut log = LogBuffer::default();
        let text = "grüße €\n".as_bytes();
        for byte in text {
            log.output(&[*byte], 0);
        }
        log.output(b"\xff\xfe!\n", 0);
        assert_eq!(messages(&mut log), ["grüße €\n", "\u{fffd}\u{fffd}!\n"]);
    }

    #[test]
    fn nothing_is_longer_than_an_event_may_be() {
        let mut log = LogBuffer::default();
        let long = format!("{}{}\n", "€".repeat(400_000), "x".repeat(1_000_000));
        log.output(long.as_bytes(), 0);
        for piece in long.as_bytes().chunks(65_521) {
            log.output(piece, 0);
        }
        for piece in long.as_bytes().chunks(65_521) {
            log.datagram(&[b"R", piece].concat(), 0);
        }
        log.datagram(b"r", 0);
        log.datagram(&[b"r", "ÿ".repeat(1_100_000).as_bytes()].concat(), 0);
        log.output(&vec![0xff; 900_000], 0);
        log.flush(0);
        let events = messages(&mut log);
        assert!(events.iter().all(|event| event.len() <= MAX_EVENT_BYTES && !event.is_empty()));
        let expected =
            [long.clone(), long.clone(), long, "ÿ".repeat(1_100_000), "\u{fffd}".repeat(900_000)].concat();
        assert!(events.concat() == expected, "text was lost or changed");
    }

    #[test]
    fn a_line_that_never_ends_does_not_stay_in_memory() {
        let mut log = LogBuffer::default();
        for _ in 0..50 {
            log.output(&[b'x'; 100_000], 0);
            assert!(log.pipe.len() <= MAX_EVENT_BYTES);
        }
        assert_eq!(messages(&mut log).concat().len() + log.pipe.len(), 5_000_000);
    }

    #[test]
    fn the_tail_is_the_end_of_the_log_in_whole_characters() {
        let mut log = LogBuffer::default();
        log.output(b"before\n", 0);
        assert_eq!(log.take_tail(), None);
        log.keep_tail(true);
        log.platform("START\n".into(), 0);
        log.output(b"no line end", 0);
        log.flush(0);
        log.platform("END\n".into(), 0);
        assert_eq!(log.take_tail().unwrap(), "START\nno line end\nEND\n");
        assert_eq!(log.take_tail(), None);

        log.keep_tail(true);
        for _ in 0..3_000 {
            log.output("€€€\n".as_bytes(), 0);
        }
        log.output(b"z\n", 0);
        let tail = log.take_tail().unwrap();
        assert!(tail.len() <= TAIL_BYTES && tail.len() > TAIL_BYTES - 3, "{}", tail.len());
        assert!(std::str::from_utf8(&tail).unwrap().ends_with("€€€\nz\n"));
    }
}
