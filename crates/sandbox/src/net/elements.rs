//! Changes of a spawner's sets, by netlink: `nft` would take some milliseconds for each.

use std::io;
use std::net::Ipv4Addr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::spec::Uplink;
use crate::sys::netlink::{Attributes, Batch, Family, Netlink};

const SUBSYSTEM: u16 = libc::NFNL_SUBSYS_NFTABLES as u16;
const FAMILY_INET: u8 = libc::NFPROTO_INET as u8;

// Of `linux/netfilter/nf_tables.h`; the C library's binding lacks them.
const NFTA_TABLE_NAME: u16 = 1;
const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
const NFTA_SET_ELEM_LIST_SET: u16 = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_SET_ELEM_TIMEOUT: u16 = 4;
const NFTA_DATA_VALUE: u16 = 1;

/// The set of a policy's sandboxes, which is also the name of its chain.
fn set_name(uplink: Uplink) -> String {
    match uplink {
        Uplink::Internet => "internet".to_owned(),
        Uplink::List(number) => format!("list_{number}"),
    }
}

/// Which sandbox: the key of a policy's set.
fn sandbox_key(link: &str, address: Ipv4Addr) -> Vec<u8> {
    let mut key = link.as_bytes().to_vec();
    key.resize(libc::IFNAMSIZ, 0);
    key.extend(address.octets());
    key
}

/// Where to: the key of `learned`.
fn learned_key(index: u32, address: Ipv4Addr, port: u16) -> Vec<u8> {
    let mut key = index.to_ne_bytes().to_vec();
    key.extend(address.octets());
    key.extend(port.to_be_bytes());
    key.extend([0; 2]);
    key
}

/// This process's socket, kept open: closing one waits for all that was removed before, some 10 ms.
static SOCKET: Mutex<Option<Netlink>> = Mutex::new(None);

/// Opens the socket ahead of its use.
pub(super) fn prepare() -> io::Result<()> {
    let mut socket = SOCKET.lock().unwrap_or_else(PoisonError::into_inner);
    if socket.is_none() {
        *socket = Some(Netlink::open(Family::Netfilter)?);
    }
    Ok(())
}

/// A transaction of nf_tables.
struct Transaction<'a> {
    batch: Batch,
    table: &'a str,
}

impl<'a> Transaction<'a> {
    fn new(table: &'a str) -> Transaction<'a> {
        let mut transaction = Transaction { batch: Batch::default(), table };
        transaction.bound(libc::NFNL_MSG_BATCH_BEGIN);
        transaction
    }

    fn bound(&mut self, kind: i32) {
        let [high, low] = SUBSYSTEM.to_be_bytes();
        self.batch.add(kind as u16, 0, &[0, 0, high, low], |_| {});
    }

    fn message(&mut self, kind: i32, flags: i32, attributes: impl FnOnce(&mut Attributes<'_>)) {
        self.batch.add(
            SUBSYSTEM << 8 | kind as u16,
            flags | libc::NLM_F_ACK,
            &[FAMILY_INET, 0, 0, 0],
            attributes,
        );
    }

    fn element(&mut self, kind: i32, set: &str, key: &[u8], timeout: Option<Duration>) {
        let table = self.table;
        let flags = if kind == libc::NFT_MSG_NEWSETELEM { libc::NLM_F_CREATE } else { 0 };
        self.message(kind, flags, |attributes| {
            attributes.text(NFTA_SET_ELEM_LIST_TABLE, table);
            attributes.text(NFTA_SET_ELEM_LIST_SET, set);
            attributes.nest(NFTA_SET_ELEM_LIST_ELEMENTS, &[], |list| {
                list.nest(NFTA_LIST_ELEM, &[], |element| {
                    element.nest(NFTA_SET_ELEM_KEY, &[], |value| {
                        value.bytes(NFTA_DATA_VALUE, key);
                    });
                    if let Some(timeout) = timeout {
                        let milliseconds = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
                        element.bytes(NFTA_SET_ELEM_TIMEOUT, &milliseconds.to_be_bytes());
                    }
                });
            });
        });
    }

    fn commit(mut self) -> io::Result<()> {
        self.bound(libc::NFNL_MSG_BATCH_END);
        let mut socket = SOCKET.lock().unwrap_or_else(PoisonError::into_inner);
        let open = match socket.take() {
            Some(open) => open,
            None => Netlink::open(Family::Netfilter)?,
        };
        open.ask(&self.batch)?;
        // After an error there may be more to read, which would be taken for the next answer.
        *socket = Some(open);
        Ok(())
    }
}

/// Puts a sandbox under its policy. Some 50 us, as for each change here.
pub(super) fn admit_sandbox(table: &str, uplink: Uplink, link: &str, address: Ipv4Addr) -> io::Result<()> {
    let mut transaction = Transaction::new(table);
    transaction.element(libc::NFT_MSG_NEWSETELEM, &set_name(uplink), &sandbox_key(link, address), None);
    transaction.commit()
}

/// Takes a sandbox out of its policy again; nothing of it passes any more. No error if it was not in.
pub(super) fn expel_sandbox(table: &str, uplink: Uplink, link: &str, address: Ipv4Addr) -> io::Result<()> {
    let mut transaction = Transaction::new(table);
    transaction.element(libc::NFT_MSG_DELSETELEM, &set_name(uplink), &sandbox_key(link, address), None);
    unless_absent(transaction.commit())
}

/// Opens destinations to the sandbox behind an interface for some time from now, whatever was before.
pub(super) fn learn(
    table: &str,
    index: u32,
    destinations: &[(Ipv4Addr, u16)],
    time: Duration,
) -> io::Result<()> {
    let mut transaction = Transaction::new(table);
    for (address, port) in destinations {
        let key = learned_key(index, *address, *port);
        // Adding what is there leaves its time as it is, removing what is not there fails: hence thrice.
        transaction.element(libc::NFT_MSG_NEWSETELEM, "learned", &key, Some(time));
        transaction.element(libc::NFT_MSG_DELSETELEM, "learned", &key, None);
        transaction.element(libc::NFT_MSG_NEWSETELEM, "learned", &key, Some(time));
    }
    transaction.commit()
}

/// Closes destinations again.
pub(super) fn forget(table: &str, index: u32, destinations: &[(Ipv4Addr, u16)]) -> io::Result<()> {
    let mut transaction = Transaction::new(table);
    for (address, port) in destinations {
        let key = learned_key(index, *address, *port);
        transaction.element(libc::NFT_MSG_NEWSETELEM, "learned", &key, Some(Duration::from_secs(60)));
        transaction.element(libc::NFT_MSG_DELSETELEM, "learned", &key, None);
    }
    unless_absent(transaction.commit())
}

/// Removes a table. No error if there is none.
pub(super) fn delete_table(table: &str) -> io::Result<()> {
    let mut transaction = Transaction::new(table);
    transaction.message(libc::NFT_MSG_DELTABLE, 0, |attributes| attributes.text(NFTA_TABLE_NAME, table));
    unless_absent(transaction.commit())
}

fn unless_absent(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
