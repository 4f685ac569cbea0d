//! Tests of the queue.

use super::*;

fn append(text: &str, answer: Option<Answer>) -> Append {
    let key = LogStreamKey { scope: Scope::new("1", "r"), group: "g".into(), stream: "s".into() };
    let events = text.split(' ').map(|message| LogEvent { timestamp: 0, message: message.into() });
    Append { key, events: events.collect(), now: 0, answer }
}

fn texts(work: &Work) -> Vec<Vec<String>> {
    let (Work::Append(appends) | Work::Flush { retry: appends, .. }) = work else { panic!("{work:?}") };
    let text = |event: &LogEvent| event.message.clone();
    appends.iter().map(|append| append.events.iter().map(text).collect()).collect()
}

fn answer() -> Answer {
    oneshot::channel().0
}

#[test]
fn keeps_the_order_and_takes_runs_of_one_sort() {
    let queue = Queue::new(1 << 20);
    queue.append(append("a", None));
    queue.append(append("b", Some(answer())));
    queue.expire(answer());
    queue.append(append("c", None));
    queue.flush_sums(answer());
    assert!(queue.flush().is_some());
    assert_eq!(texts(&queue.next(None)), [["a"], ["b"]]);
    assert!(matches!(queue.next(None), Work::Expire(_)));
    assert_eq!(texts(&queue.next(None)), [["c"]]);
    let flush = queue.next(None);
    assert!(matches!(&flush, Work::Flush { sums: true, answers, .. } if answers.len() == 2), "{flush:?}");
    // What was taken last is still being worked on.
    assert!(queue.flush().is_some());
}

#[test]
fn nothing_to_flush_is_known_at_once() {
    let queue = Queue::new(1 << 20);
    assert!(queue.flush().is_none());
    queue.append(append("a", Some(answer())));
    assert!(matches!(queue.next(None), Work::Append(_)));
    assert!(matches!(queue.next(Some(Instant::now())), Work::Idle));
    assert!(queue.flush().is_none());
}

#[test]
fn collects_what_nobody_waits_for() {
    let queue = Queue::new(1 << 30);
    queue.append(append("a", None));
    assert!(matches!(queue.next(Some(Instant::now())), Work::Idle));
    queue.append(append(&"x".repeat(COLLECT_BYTES), None));
    assert_eq!(texts(&queue.next(Some(Instant::now()))).len(), 2);
    let begun = Instant::now();
    queue.append(append("b", None));
    assert_eq!(texts(&queue.next(None)), [["b"]]);
    assert!(begun.elapsed() >= COLLECT);
}

#[test]
fn takes_large_batches_in_parts() {
    let queue = Queue::new(1 << 30);
    for _ in 0..3 {
        queue.append(append(&"x".repeat(MAX_BATCH_BYTES / 2), Some(answer())));
    }
    queue.append(append(&"x".repeat(MAX_BATCH_BYTES * 2), Some(answer())));
    let sizes: Vec<usize> = (0..4).map(|_| texts(&queue.next(None)).len()).collect();
    assert_eq!(sizes, [1, 1, 1, 1]);
    for _ in 0..=MAX_BATCH {
        queue.append(append("x", Some(answer())));
    }
    assert_eq!(texts(&queue.next(None)).len(), MAX_BATCH);
    assert_eq!(texts(&queue.next(None)).len(), 1);
}

#[test]
fn drops_the_oldest_beyond_the_limit() {
    let text = |letter: &str| letter.repeat(EVENT_MEMORY);
    // Room for two items of one event.
    let queue = Queue::new(6 * EVENT_MEMORY);
    queue.append(append("awaited", Some(answer())));
    for letter in ["a", "b", "c"] {
        queue.append(append(&text(letter), None));
    }
    assert_eq!(queue.dropped(), 1);
    assert_eq!(texts(&queue.next(None)), [["awaited".to_owned()], [text("b")], [text("c")]]);
    // Of an item that is too large, the end stays.
    let long = [text("a"), text("b"), text("c"), text("d")].join(" ");
    queue.append(append(&long, None));
    assert_eq!(queue.dropped(), 3);
    queue.flush_sums(answer());
    assert_eq!(texts(&queue.next(None)), [[text("c"), text("d")]]);
    // Nothing is counted twice: as much as before fits.
    queue.append(append(&text("e"), None));
    queue.append(append(&text("f"), None));
    assert_eq!(queue.dropped(), 3);
}

#[test]
fn refused_events_come_first_after_a_pause() {
    let queue = Queue::new(1 << 20);
    queue.append(append("a", None));
    queue.append(append("b", Some(answer())));
    let Work::Append(mut taken) = queue.next(None) else { panic!() };
    taken.truncate(1);
    queue.refuse(taken);
    queue.append(append("c", None));
    // Neither is due; a flush tries what was refused and answers whatever comes of it.
    assert!(matches!(queue.next(Some(Instant::now())), Work::Idle));
    queue.append(append("d", Some(answer())));
    let work = queue.next(None);
    assert_eq!(texts(&work), [["a"], ["c"], ["d"]]);
    let Work::Append(mut taken) = work else { panic!() };
    taken.truncate(2);
    queue.refuse(taken);
    queue.flush_sums(answer());
    assert_eq!(texts(&queue.next(None)), [["a"], ["c"]]);
}

#[test]
fn ends_when_all_is_done() {
    let queue = Queue::new(1 << 20);
    queue.append(append("a b", None));
    queue.close();
    queue.append(append("too late", None));
    let Work::Append(taken) = queue.next(None) else { panic!() };
    queue.refuse(taken);
    // Once more, then they are given up.
    let Work::Append(taken) = queue.next(None) else { panic!() };
    queue.refuse(taken);
    assert!(matches!(queue.next(None), Work::End));
    assert_eq!(queue.dropped(), 4);
}
