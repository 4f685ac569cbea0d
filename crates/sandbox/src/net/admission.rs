//! Opening further destinations to a running sandbox.

use std::collections::HashSet;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::elements;

/// Opens destinations to one sandbox with [`super::Uplink::List`], beyond those of its list. Dropping it closes them;
/// connections that exist go on.
#[derive(Debug)]
pub struct Admission {
    table: String,
    index: u32,
    opened: Mutex<HashSet<(Ipv4Addr, u16)>>,
}

impl Admission {
    pub(crate) fn new(table: String, index: u32) -> Admission {
        Admission { table, index, opened: Mutex::default() }
    }

    /// Opens destinations, for TCP and UDP, for `time` from now. Blocks for some 50 us for each.
    ///
    /// # Errors
    /// If the kernel refuses, as when the spawner has ended.
    pub fn open(&self, destinations: &[(Ipv4Addr, u16)], time: Duration) -> io::Result<()> {
        if destinations.is_empty() {
            return Ok(());
        }
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        elements::learn(&self.table, self.index, destinations, time)?;
        opened.extend(destinations);
        Ok(())
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let opened = self.opened.get_mut().unwrap_or_else(PoisonError::into_inner);
        let all: Vec<_> = opened.drain().collect();
        for some in all.chunks(64) {
            // They end by themselves, and nobody else can use them: the interface's number is never given out again.
            let _ = elements::forget(&self.table, self.index, some);
        }
    }
}
